package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child: the relay, the floor or Redis.
type process struct {
	cmd  *exec.Cmd
	name string
	log  string // file with its standard error
	done chan struct{}
	born time.Time
}

// start runs a command with its output in dir/log.
func start(ctx context.Context, dir, log, name string, args ...string) (*process, error) {
	file, err := os.Create(filepath.Join(dir, log))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, file, file
	p := &process{cmd: cmd, name: filepath.Base(name), log: file.Name(), done: make(chan struct{}), born: time.Now()}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// await connects to addr until ready succeeds, the process ends or d is over.
func (p *process) await(addr string, d time.Duration, ready func(*stream) error) error {
	for deadline := time.Now().Add(d); ; {
		err := probe(addr, ready)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %s", p.name, p.lastLines())
		case <-time.After(500 * time.Microsecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready: %w; %s", p.name, err, p.lastLines())
		}
	}
}

func probe(addr string, ready func(*stream) error) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	return ready(newStream(c, 4<<10))
}

// lastLines is the end of what the process wrote.
func (p *process) lastLines() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	return string(text[max(0, len(text)-2000):])
}

// stop ends the process, kindly at first, and waits for its end.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// clockTick is the unit of times in /proc, 1/100 s on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// cpu is the processor time that the process has taken so far.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field is the name in parentheses, which may hold blanks.
	_, rest, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')'):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, errors.New("no times in /proc")
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * clockTick, errors.Join(err1, err2)
}

// memory returns the resident memory of now and its peak in KiB.
func (p *process) memory() (now, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		kib, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		switch name {
		case "VmRSS":
			now, _ = strconv.ParseInt(kib, 10, 64)
		case "VmHWM":
			peak, _ = strconv.ParseInt(kib, 10, 64)
		}
	}
	return now, peak, nil
}

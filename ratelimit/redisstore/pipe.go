package redisstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// pipe sends the calls of many sessions to one server. A call goes out at once
// while a lane is free; those that come while all lanes wait for replies go out
// together, in one write, when the first lane is free again. There is no
// goroutine while there is nothing to send.
type pipe struct {
	client  *redis.Client
	timeout time.Duration
	lanes   int
	running *sync.WaitGroup

	mu    sync.Mutex
	queue []*pipedCall
	spare []*pipedCall
	busy  int
}

// maxPiped is how many calls go out in one write at most.
const maxPiped = 512

type pipedCall struct {
	cmd  *redis.Cmd
	done chan struct{}
	// gone: nobody waits any more. A call that has not been sent by then is not
	// sent at all.
	gone atomic.Bool
}

// do sends a command and waits for its reply until ctx ends.
func (p *pipe) do(ctx context.Context, cmd *redis.Cmd) (any, error) {
	c := &pipedCall{cmd: cmd}
	p.mu.Lock()
	if p.busy < p.lanes && len(p.queue) == 0 {
		p.busy++
		p.mu.Unlock()
		_ = p.client.Process(ctx, cmd)
		p.pass()
		return cmd.Result()
	}
	c.done = make(chan struct{})
	p.queue = append(p.queue, c)
	if p.busy < p.lanes {
		p.busy++
		p.running.Go(p.run)
	}
	p.mu.Unlock()
	select {
	case <-c.done:
		return cmd.Result()
	case <-ctx.Done():
		c.gone.Store(true)
		return nil, ctx.Err()
	}
}

// pass gives a lane on to those that wait by now.
func (p *pipe) pass() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 {
		p.running.Go(p.run)
		return
	}
	p.busy--
}

// run is a lane: it sends until nothing waits.
func (p *pipe) run() {
	var batch []*pipedCall
	for {
		if batch = p.next(batch); batch == nil {
			return
		}
		p.send(batch)
		for i, c := range batch {
			close(c.done)
			batch[i] = nil
		}
	}
}

// next takes what waits; used is the last batch, whose memory it takes back.
func (p *pipe) next(used []*pipedCall) []*pipedCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	if used != nil {
		p.spare = used[:0]
	}
	if len(p.queue) == 0 {
		p.busy--
		return nil
	}
	batch := p.queue
	if len(batch) > maxPiped {
		p.queue = append([]*pipedCall(nil), batch[maxPiped:]...)
		return batch[:maxPiped:maxPiped]
	}
	p.queue, p.spare = p.spare, nil
	return batch
}

// send sets the reply or the error of every command.
func (p *pipe) send(batch []*pipedCall) {
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	if len(batch) == 1 {
		if !batch[0].gone.Load() {
			_ = p.client.Process(ctx, batch[0].cmd)
		}
		return
	}
	pl := p.client.Pipeline()
	for _, c := range batch {
		if !c.gone.Load() {
			_ = pl.Process(ctx, c.cmd)
		}
	}
	_, _ = pl.Exec(ctx) // every command has its own error
}

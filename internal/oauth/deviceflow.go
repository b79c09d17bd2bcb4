package oauth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/oauth2"
)

// Login gets the refresh token of a mailbox by the device flow (RFC 8628): show
// tells a person where to enter which code, and Login waits until that was done.
// The token is kept in file, which then belongs to the owner of its folder.
func Login(ctx context.Context, cfg Config, file string, show func(address, code string)) error {
	if cfg.DeviceURL == "" {
		return errors.New("device_url is not set; write the provider's endpoint for the device flow")
	}
	s, err := New(cfg, Options{File: file})
	if err != nil {
		return err
	}
	defer s.Close()
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.http)
	device, err := s.person.DeviceAuth(ctx)
	if err != nil {
		return plainError(err, cfg.sent())
	}
	show(device.VerificationURI, device.UserCode)
	t, err := s.person.DeviceAccessToken(ctx, device)
	switch {
	case err != nil:
		return plainError(err, append(cfg.sent(), device.DeviceCode))
	case t.RefreshToken == "":
		return errors.New("the provider gave no refresh token; ask for it in scope, often by offline_access")
	}
	s.mu.Lock()
	keep := s.takeLocked(t)
	s.mu.Unlock()
	if err := s.write(keep); err != nil {
		return err
	}
	return giveToFolder(file)
}

// giveToFolder makes the owner of its folder the owner of a file: root may log
// in for a relay that runs as another user.
func giveToFolder(file string) error {
	info, err := os.Stat(filepath.Dir(file))
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := os.Chown(file, int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("give the file to the owner of its folder: %w", err)
	}
	return nil
}

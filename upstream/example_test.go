package upstream_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"postern/mail"
	"postern/upstream"
)

// An upstream with a capture folder sends nothing: it is for trials, and shows
// the course of a transaction.
func Example() {
	folder, err := os.MkdirTemp("", "capture")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	var cfg upstream.Config
	cfg.SetDefaults()
	cfg.Capture = folder
	u, err := upstream.New("outbox", cfg, upstream.Options{Hostname: "relay.example.org"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer u.Close(ctx)

	t := u.Begin(upstream.Route{}, &mail.Envelope{From: mail.Address{Local: "news", Domain: "example.org"}})
	defer t.Close()
	to := []mail.Recipient{{Address: mail.Address{Local: "anna", Domain: "dest.example"}}}
	replies, err := t.Recipients(ctx, to, nil)
	fmt.Println(replies[0].Code, err)
	reply, err := t.Send(ctx, upstream.Content{Prefix: []byte("Subject: hello\r\n\r\nHello.\r\n")})
	fmt.Println(reply.Code, err)
	kept, _ := filepath.Glob(filepath.Join(folder, "*.eml"))
	fmt.Println(len(kept), "message kept")
	// Output:
	// 250 <nil>
	// 250 <nil>
	// 1 message kept
}

package capture_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/upstream/capture"
	"postern/upstream/content"
)

// A message that would have left lies in the folder, octet by octet, with its envelope
// beside it.
func Example() {
	dir, err := os.MkdirTemp("", "capture")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	folder, err := capture.Open("main", dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	envelope := capture.Envelope{Time: time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC), Upstream: "main", From: "news@example.org", To: []capture.Recipient{{Address: "b@dest.example"}}}
	message := content.Content{Chunks: [][]byte{[]byte("Subject: May\r\n\r\nHello\r\n")}}
	reply, err := folder.Write(&envelope, &message)
	if err != nil {
		fmt.Println(err)
		return
	}
	name := strings.TrimPrefix(reply.Text, "captured as ")
	text, _ := os.ReadFile(filepath.Join(dir, name+".eml"))
	fmt.Println(reply.Code, len(text) == int(message.Total()))
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		fmt.Println(filepath.Ext(f.Name()))
	}
	// Output:
	// 250 true
	// .eml
	// .json
}

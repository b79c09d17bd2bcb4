package admin

import (
	"time"

	"postern/reputation/identity"
)

// FindingsAnswer is what the last run of the identity checks has found.
type FindingsAnswer struct {
	Checked  time.Time          `json:"checked"`
	Findings []identity.Finding `json:"findings"`
}

// ResumeOrder asks to let a stream go on that a listing has paused.
type ResumeOrder struct {
	Stream string `json:"stream"`
}

package admin

import (
	"context"

	"postern/internal/alert"
)

// AlertStatus is the answer of the path /alerts: what holds, and how channels do.
type AlertStatus struct {
	Conditions []alert.Alert        `json:"conditions"`
	Channels   []alert.ChannelState `json:"channels"`
}

// AlertOrder is what the path /alerts/test takes.
type AlertOrder struct {
	Channel string `json:"channel"`
}

// Alerts serves the conditions that hold, and sends a test notice.
func (c *Control) Alerts(status func() AlertStatus, test func(ctx context.Context, channel, by string) error) {
	c.Query("/alerts", func(context.Context, func(string) string) (any, error) { return status(), nil })
	Act(c, "/alerts/test", func(ctx context.Context, o AlertOrder) (any, error) {
		return o, test(ctx, o.Channel, By(ctx))
	})
}

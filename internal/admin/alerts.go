package admin

import "postern/internal/alert"

// AlertStatus is what relay alert list shows: what holds, and how channels do.
type AlertStatus struct {
	Conditions []alert.Alert        `json:"conditions"`
	Channels   []alert.ChannelState `json:"channels"`
}

// AlertOrder is what relay alert test prints.
type AlertOrder struct {
	Channel string `json:"channel"`
}

// Package deliver brings alerts to their receivers: as JSON or as text for a chat to a
// webhook, to Alertmanager, and by mail. What is due it asks of an alert.Board, and
// tells it how each try went. What stands on the board is no business of this package:
// internal/node puts it there, suspensions in alert_suspensions.go and the rest in alert_sources.go.
package deliver

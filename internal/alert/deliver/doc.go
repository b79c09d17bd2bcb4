// Package deliver brings alerts to their receivers: as JSON or as text for a chat to a
// webhook, to Alertmanager, and by mail. What is due it asks of an alert.Board, and
// tells it how each try went.
package deliver

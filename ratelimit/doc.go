// Package ratelimit takes, peeks and refunds quota: what a mail transaction
// costs under the limits of the configuration, held as hard caps over rolling
// windows. State lives in process (Embedded) or in Redis, and Failover decides
// what holds while Redis is away. The package knows nothing of SMTP.
package ratelimit

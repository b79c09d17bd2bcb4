// Package outlier watches each sender, each SASL user and each client, notices
// volume unlike their own past, and acts in steps that expire: alert, throttle,
// suspend. An operator can suspend, release and explain.
package outlier

package redisstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"postern/internal/secret"
)

// NewClient makes the client of [redis] that all parts of a relay share;
// cfg must have passed Check. It connects when it is first used. Errors are
// about the files of certificates.
//
// The client retries nothing and keeps to deadlines: what may be sent again is
// for the caller to know. It logs nothing, and no other client of go-redis in
// the process does: who asks hears of errors.
func NewClient(cfg Config) (redis.UniversalClient, error) {
	tlsConfig, err := cfg.tlsConfig()
	if err != nil {
		return nil, err
	}
	opt := &redis.UniversalOptions{
		Addrs: cfg.Addresses, MasterName: cfg.Master, IsClusterMode: cfg.isCluster(),
		Username: cfg.Username, Password: cfg.Password, DB: cfg.Database, TLSConfig: tlsConfig,
		SentinelUsername: cfg.Sentinel.Username, SentinelPassword: cfg.Sentinel.Password,
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: cfg.Timeout, ReadTimeout: cfg.Timeout, WriteTimeout: cfg.Timeout, PoolTimeout: cfg.Timeout,
		PoolSize: cfg.Connections, PipelinePoolSize: -1, ConnMaxIdleTime: 5 * time.Minute,
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if cfg.Sentinel.Password == "" && cfg.Username == "" {
		opt.SentinelPassword = cfg.Password
	}
	redis.SetLogger(&logging.VoidLogger{})
	return redis.NewUniversalClient(opt), nil
}

func (c *Config) tlsConfig() (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	t := &tls.Config{ServerName: c.ServerName, MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("redis.ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("redis.ca: %w", errors.New("no certificate in "+c.CA))
		}
	}
	if c.Certificate != "" {
		pair, err := secret.KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, fmt.Errorf("redis.certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

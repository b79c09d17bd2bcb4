package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"postern/dkimsign"
	"postern/upstream"
	"postern/upstream/profile"
	"postern/upstream/warmup"
)

// UpstreamConfig is one [upstream.NAME]: where mail goes, and how it is signed on
// that way.
type UpstreamConfig struct {
	upstream.Config
	dkimsign.WayConfig

	// Profile names a provider; what it wants is the default of every key that is
	// left out. An unknown name is an error that lists those known. Blank: none.
	Profile string `toml:"profile"`
	// Warmup lets mail from new source addresses grow slowly, with mx = true. Nil: all
	// may leave.
	Warmup *warmup.Config `toml:"warmup"`
	// MaxRecipients of one message; further ones get 452 4.5.3, so that the client
	// sends them in another. 0: as [message] max_recipients. Default: 0.
	MaxRecipients int `toml:"max_recipients"`
}

// UseProfile puts what a provider wants in place of the defaults.
func (u *UpstreamConfig) UseProfile(name string) error {
	if name == "" {
		return nil
	}
	p, err := profile.Find(name)
	if err != nil {
		return err
	}
	u.Hosts = slices.Clone(p.Hosts)
	u.Username = p.Username
	u.MaxConnections = cmp.Or(p.MaxConnections, u.MaxConnections)
	u.MessagesPerConnection = cmp.Or(p.MessagesPerConnection, u.MessagesPerConnection)
	u.MaxRecipients = p.MaxRecipients
	u.SignKeys, u.UnsignedFields = slices.Clone(p.SignKeys), slices.Clone(p.UnsignedFields)
	return errors.Join(
		u.TLS.UnmarshalText([]byte(p.TLS)), u.TLSMin.UnmarshalText([]byte(p.TLSMin)), u.ClientSignatures.UnmarshalText([]byte(p.ClientSignatures)))
}

// Check reports hosts that are not those of the profile, or of two providers: all
// hosts of an upstream are signed for alike.
func (u *UpstreamConfig) Check(report func(key, problem string)) {
	if u.MaxRecipients < 0 {
		report("max_recipients", fmt.Sprintf("%d is negative; write how many recipients a message may have, or leave it out", u.MaxRecipients))
	}
	p, err := profile.Find(u.Profile)
	if u.Profile != "" && err != nil || u.Capture != "" {
		return
	}
	if u.Profile != "" && len(u.Hosts) == 0 && p.WhichHost != "" {
		report("profile", fmt.Sprintf("%s has no hosts that are the same for all: %s", p.Name, p.WhichHost))
	}
	for i, host := range u.Hosts {
		of := profile.OfHost(host)
		switch {
		case of == nil || of == p:
		case p == nil:
			p = of
		default:
			report(fmt.Sprintf("hosts.%d", i), fmt.Sprintf("is a host of %s beside %s, but the hosts of one upstream get the same signatures and limits; give it an [upstream.NAME] of its own", of.Name, p.Name))
		}
	}
}

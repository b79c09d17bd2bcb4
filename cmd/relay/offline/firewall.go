package offline

import (
	"flag"
	"fmt"
	"net/netip"

	"postern/cmd/relay/cli"
	"postern/internal/config"
	"postern/internal/firewall"
)

// Firewall prints rules of nftables for the configuration.
func Firewall(std cli.IO, args []string) int {
	f := flag.NewFlagSet("relay firewall", flag.ContinueOnError)
	f.SetOutput(std.Err)
	path := cli.ConfigFlag(f, "")
	var o firewall.Options
	f.Func("user", "`NAME` of a user of this machine that may send mail; several times for several (default postern)", func(s string) error {
		o.Users = append(o.Users, s)
		return nil
	})
	f.Func("address", "`IP` of another machine or a container that sends mail through this one, such as that of the relay's container; several times for several", func(s string) error {
		a, err := netip.ParseAddr(s)
		o.Forwarded = append(o.Forwarded, a.Unmap().WithZone(""))
		return err
	})
	read, status, ok := cli.ParseConfig(f, path, args)
	if !ok {
		return status
	}
	if len(o.Users) == 0 {
		o.Users = []string{"postern"}
	}
	file, err := config.LoadRules(read)
	if err == nil {
		err = o.Check()
	}
	if err == nil {
		err = firewall.Write(std.Out, file, o)
	}
	if err != nil {
		fmt.Fprintf(std.Err, "relay firewall: %v\n", err)
		return cli.Usage
	}
	return cli.OK
}

package embedded

// Config is the table [store]: the embedded store.
type Config struct {
	// Memory is the most that counts may take in process. Default 256MiB, room
	// for about 1.7 million active keys of three windows. 16MiB at least.
	Memory int64 `toml:"memory" form:"size"`
}

// SetDefaults fills in what a blank table means.
func (c *Config) SetDefaults() { c.Memory = 256 << 20 }

// Check reports what is wrong with the table by itself; names of clients and
// streams are checked against the rest of the configuration by Compile.
func (c *Config) Check(report func(key, problem string)) {
	if c.Memory < 16<<20 {
		report("memory", "is less than 16MiB; raise it")
	}
}

package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rule is a row of the table of packages.
type rule struct {
	ours    []string // packages of ours that it may import; "*" is all
	outside []string // modules that it may import; the standard library always
}

const (
	goRedis = "github.com/redis/go-redis/v9"
	xtime   = "golang.org/x/time"
	dns     = "github.com/miekg/dns"
	sasl    = "github.com/emersion/go-sasl"
)

// plainest is the package that every other may import: it reads and writes the
// small values of the configuration, and knows nothing else.
const plainest = "internal/text"

var leaves = []string{"mail", "internal/syntax", "internal/auth", "policy", "policy/submitter", "ratelimit", "dkimsign", "mx", "mx/provider", "mx/sts", "mx/tlsrpt", "upstream", "upstream/direct", "upstream/warmup", "upstream/replies", "outlier", "scan", "scan/links", "internal/parts"}

// table says what each package may import. A package that is missing here may
// not exist.
var table = map[string]rule{
	"internal/text":      {},
	"internal/httpfault": {},
	"internal/health":    {},
	"internal/plain":     {},
	"internal/spare":     {},
	"internal/statefile": {},
	"internal/secret":    {ours: []string{"internal/shell"}, outside: []string{"golang.org/x/sys"}},
	"internal/shell":     {},

	// What a header tells of who submitted a message to a client.
	"policy/submitter": {ours: []string{"mail"}},
	"outlier/networks": {ours: []string{"mail", "outlier/astable", "outlier/fair"}},
	"outlier/astable":  {outside: []string{"github.com/gaissmai/bart"}},
	"outlier/fair":     {},
	"outlier/logins":   {ours: []string{"internal/resolve", "outlier/fair", "reputation/dnsbl"}},
	// Which sensitivity of the watch the journal asks for.
	"outlier/tune": {ours: []string{"internal/spare", "internal/statefile", "mail", "outlier", "outlier/detector", "outlier/networks"}},
	// To whom clients wrote before they were watched, by the journal.
	// How the detector stores numbers, and whom it knows.
	"outlier/detector/arithmetic": {},
	"outlier/detector/compact":    {},
	"outlier/detector/sketch":     {},

	"outlier/learn":     {ours: []string{"internal/spare", "internal/statefile", "mail", "outlier", "outlier/detector"}},
	"internal/incident": {ours: []string{"mail", "internal/plain"}},

	"mx":              {ours: []string{"internal/resolve"}, outside: []string{dns}},
	"mx/provider":     {},
	"mx/tlsrpt":       {ours: []string{"internal/resolve"}, outside: []string{dns}},
	"mx/sts":          {ours: []string{"internal/resolve", "internal/statefile"}, outside: []string{dns}},
	"upstream/direct": {ours: []string{"internal/tlsmin", "mail", "mx", "mx/provider", "mx/sts", "mx/tlsrpt", "upstream", "upstream/patience", "upstream/replies", "upstream/share", "upstream/warmup"}, outside: []string{xtime}},

	"mail":                 {outside: []string{"golang.org/x/text"}},
	"internal/syntax":      {ours: []string{"mail"}, outside: []string{"golang.org/x/net", "golang.org/x/text"}},
	"internal/auth":        {outside: []string{"golang.org/x/crypto", "github.com/go-crypt/crypt"}},
	"policy":               {ours: []string{"mail", "policy/submitter"}},
	"ratelimit":            {ours: []string{"mail", "ratelimit/contributors", "ratelimit/recipients"}},
	"ratelimit/recipients": {ours: []string{"internal/secret", "internal/statefile"}},

	"ratelimit/contributors": {},

	"ratelimit/embedded":    {ours: []string{"internal/statefile", "ratelimit", "ratelimit/recipients"}},
	"ratelimit/redisstore":  {ours: []string{"internal/secret", "ratelimit"}, outside: []string{goRedis}},
	"ratelimit/strangers":   {ours: []string{"ratelimit"}},
	"ratelimit/limitimport": {ours: []string{"mail", "ratelimit"}},

	"internal/volume":   {ours: []string{"internal/config", "internal/simulate", "mail", "outlier"}},
	"internal/scanfile": {ours: []string{"scan"}},
	"internal/firewall": {ours: []string{"internal/config", "internal/plain"}},
	"internal/expiry":   {},
	"internal/explain":  {ours: []string{"internal/phrase", "mail", "ratelimit"}},
	"upstream/profile":  {},
	"internal/describe": {ours: []string{"upstream/profile", "dkimsign", "internal/config", "outlier", "outlier/brake", "policy", "ratelimit", "relay/smtpd", "upstream"}},
	"internal/openssl":  {},
	"dkimsign":          {ours: []string{"internal/openssl", "internal/secret", "internal/shell", "internal/statefile"}},
	"internal/tlsmin":   {},
	"internal/oauth":    {ours: []string{"internal/httpfault", "internal/statefile"}, outside: []string{"golang.org/x/oauth2"}},
	"upstream/replies":  {ours: []string{"mail", "upstream/replies/vote"}},
	"upstream/warmup":   {ours: []string{"ratelimit", "reputation/bygroup"}},
	"upstream/wire":     {ours: []string{"mail"}},
	"upstream/content":  {},
	"upstream/patience": {},
	"upstream/share":    {},
	"upstream/capture":  {ours: []string{"mail", "upstream/content"}},
	"upstream":          {ours: []string{"internal/oauth", "internal/tlsmin", "mail", "mx", "upstream/capture", "upstream/content", "upstream/replies", "upstream/share", "upstream/wire"}, outside: []string{sasl, dns, "golang.org/x/sys"}},
	"outlier":           {ours: []string{"mail", "internal/statefile", "outlier/astable", "outlier/brake", "outlier/detector", "outlier/detector/arithmetic", "outlier/fair", "outlier/networks", "outlier/store"}},
	"outlier/brake":     {},
	"outlier/detector":  {ours: []string{"mail", "outlier/detector/arithmetic", "outlier/detector/compact", "outlier/detector/sketch"}},
	"outlier/store":     {ours: []string{"internal/statefile", "outlier/detector", "outlier/networks"}, outside: []string{goRedis}},
	"internal/resolve":  {outside: []string{dns, "golang.org/x/net"}},
	"reputation":        {ours: []string{"internal/resolve", "internal/shell", "internal/statefile", "mail", "reputation/bygroup", "reputation/dnsbl", "reputation/identity"}, outside: []string{dns}},

	"upstream/replies/vote":    {ours: []string{"mail"}},
	"upstream/replies/unknown": {ours: []string{"internal/statefile", "mail", "upstream/replies"}},

	"reputation/bygroup":  {ours: []string{"reputation/identity"}},
	"reputation/dnsbl":    {ours: []string{"internal/resolve", "internal/secret"}, outside: []string{dns}},
	"reputation/identity": {ours: []string{"internal/resolve", "internal/shell"}, outside: []string{dns, "blitiri.com.ar/go/spf", "golang.org/x/net"}},

	"internal/find":          {ours: []string{"internal/eventlog", "internal/syntax", "mail"}},
	"internal/tally":         {ours: []string{"internal/find", "internal/statefile", "mail"}},
	"internal/console/chart": {},
	"internal/console/peers": {ours: []string{"internal/access", "internal/admin", "internal/api", "internal/api/client", "mail", "reputation"}},
	"internal/console":       {ours: []string{"internal/access", "internal/api", "internal/audit", "internal/console/chart", "internal/console/peers", "internal/explain", "internal/phrase", "internal/find", "internal/plain", "internal/statefile", "internal/tally", "mail", "outlier", "ratelimit", "reputation"}},
	"internal/alert":         {},
	"internal/alert/deliver": {ours: []string{"internal/alert", "internal/httpfault"}},
	"internal/alert/watch":   {ours: []string{"internal/alert", "mail"}},

	"scan":       {ours: []string{"mail"}, outside: []string{"github.com/emersion/go-milter"}},
	"scan/links": {ours: []string{"internal/resolve", "reputation/dnsbl"}, outside: []string{"golang.org/x/net", "golang.org/x/text"}},
	// What a message holds is read by the libraries for characters, and one for the
	// packed directories of 7z.
	"internal/parts":    {outside: []string{"golang.org/x/text", "github.com/ulikunitz/xz"}},
	"internal/eventlog": {ours: []string{"internal/plain", "mail"}},
	"internal/simulate": {ours: []string{"mail", "ratelimit", "ratelimit/embedded", "internal/config", "internal/eventlog", "internal/phrase"}},
	// The engine asks policy who can become a client on a listener, and auth for
	// passwords; what a message means is not its business.
	"relay/smtpd":         {ours: []string{"internal/auth", "internal/plain", "internal/secret", "internal/syntax", "internal/tlsmin", "mail", "policy", "relay/replies"}, outside: []string{"github.com/pires/go-proxyproto"}},
	"relay/replies":       {ours: []string{"mail"}},
	"relay/ownfield":      {},
	"relay/halves":        {ours: []string{"internal/statefile"}, outside: []string{goRedis}},
	"relay":               {ours: append([]string{"internal/plain", "relay/halves", "relay/ownfield", "relay/replies", "relay/smtpd"}, leaves...), outside: []string{xtime}},
	"internal/access":     {ours: []string{"internal/secret", "internal/statefile"}},
	"internal/api/client": {ours: []string{"internal/api", "internal/httpfault", "internal/secret"}},
	"internal/audit":      {ours: []string{"internal/statefile"}},
	"internal/api":        {ours: []string{"internal/access", "internal/admin", "internal/alert", "internal/audit", "internal/find", "mail", "mx/provider", "outlier", "ratelimit", "reputation", "reputation/dnsbl", "reputation/identity", "upstream/warmup"}},
	"internal/admin": {ours: []string{"internal/alert", "mail", "outlier", "outlier/tune", "ratelimit", "reputation", "reputation/identity"},
		outside: []string{"github.com/prometheus/client_golang"}},
	"internal/config": {ours: append([]string{"ratelimit/strangers", "internal/access", "internal/alert/deliver", "upstream/profile", "internal/secret", "internal/shell", "internal/eventlog", "ratelimit/embedded", "ratelimit/redisstore", "relay/smtpd", "reputation", "reputation/dnsbl", "reputation/identity"}, leaves...),
		outside: []string{"github.com/pelletier/go-toml/v2", "golang.org/x/net"}},
	"internal/warmups":    {ours: []string{"internal/config", "mail", "mx/provider", "ratelimit", "upstream/direct", "upstream/warmup"}},
	"internal/bruteforce": {ours: []string{"internal/auth"}, outside: []string{goRedis}},
	"internal/phrase":     {ours: []string{"outlier", "ratelimit", "reputation"}, outside: []string{xtime}},
	"internal/check": {ours: append([]string{"internal/find", "ratelimit/strangers", "internal/eventlog", "outlier/learn", "outlier/tune", "internal/config", "internal/phrase", "mx", "internal/shell", "internal/statefile", "ratelimit/redisstore", "relay/smtpd", "reputation", "reputation/dnsbl", "reputation/identity"}, leaves...),
		outside: []string{goRedis, "github.com/emersion/go-msgauth"}},
	"internal/rotation": {ours: []string{"dkimsign", "internal/check", "internal/resolve", "reputation", "reputation/identity"}},
	"internal/ruleset":  {ours: []string{"dkimsign", "internal/admin", "internal/auth", "internal/bruteforce", "internal/config", "mail", "relay", "relay/smtpd", "scan", "scan/links", "upstream", "upstream/direct", "upstream/replies"}, outside: []string{goRedis}},
	"internal/node":     {ours: []string{"*"}, outside: []string{goRedis, "golang.org/x/net", xtime}},
	// The commands: what they share, those that ask a running relay, and those that
	// read files.
	"cmd/relay/cli":     {ours: []string{"internal/config", "internal/eventlog", "internal/text", "mail"}},
	"cmd/relay/control": {ours: []string{"*"}},
	"cmd/relay/offline": {ours: []string{"*"}},
	"cmd/relay":         {ours: []string{"*"}, outside: []string{"golang.org/x/term"}},
}

// support is for tests and benchmarks: it imports what it needs, but nothing of
// the product imports it.
var support = []string{"bench", "internal/dnstest", "internal/freeport", "internal/redistest", "internal/scantest", "internal/smtptest", "internal/spellings", "ratelimit/storetest"}

type pkg struct {
	ImportPath  string
	Imports     []string
	TestImports []string
	Standard    bool
}

// list runs go list with JSON output.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Imports,TestImports,Standard"}, args...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	standard := map[string]bool{}
	for _, p := range list(t, "-deps", "postern/...") {
		if p.Standard {
			standard[p.ImportPath] = true
		}
	}
	for _, p := range list(t, "postern/...") {
		name, ours := strings.CutPrefix(p.ImportPath, "postern/")
		if !ours {
			continue
		}
		if isSupport(name) || name == "internal/arch" {
			continue
		}
		r, ok := table[name]
		if !ok {
			t.Errorf("package %s has no row in the table of packages; give it one, with what it may import", name)
			continue
		}
		for _, imported := range p.Imports {
			if problem := r.judge(name, imported, standard); problem != "" {
				t.Error(problem)
			}
		}
	}
}

func isSupport(name string) bool {
	return slices.ContainsFunc(support, func(s string) bool { return name == s || strings.HasPrefix(name, s+"/") })
}

// judge says what is wrong with an import; "" when nothing is.
func (r rule) judge(name, imported string, standard map[string]bool) string {
	ours, isOurs := strings.CutPrefix(imported, "postern/")
	switch {
	case standard[imported] || imported == "C" && name == "internal/openssl" || ours == plainest && name != plainest:
		return ""
	case isOurs && isSupport(ours):
		return "package " + name + " imports " + ours + ", which is for tests and benchmarks only"
	case isOurs && !slices.Contains(r.ours, ours) && !slices.Contains(r.ours, "*"):
		return "package " + name + " may not import our package " + ours + "; it may import " + words(r.ours)
	case !isOurs && !slices.ContainsFunc(r.outside, func(m string) bool { return imported == m || strings.HasPrefix(imported, m+"/") }):
		return "package " + name + " may not import " + imported + " from outside; it may import " + words(r.outside)
	}
	return ""
}

func words(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// TestPureRulesTouchNothing: what decides without looking at the world stays
// so.
func TestPureRulesTouchNothing(t *testing.T) {
	for _, p := range list(t, "postern/mail", "postern/policy", "postern/internal/syntax", "postern/outlier/detector") {
		for _, imported := range p.Imports {
			switch imported {
			case "os", "net", "net/http", "io/ioutil", "os/exec", "database/sql", "crypto/tls":
				t.Errorf("package %s imports %s; it decides on values alone, without files and network", p.ImportPath, imported)
			}
		}
	}
}

// TestDetectorKnowsNoClock: what it finds follows from what it is told, so that the
// past can be played to it, and it is under one lock with those who ask it.
func TestDetectorKnowsNoClock(t *testing.T) {
	files, err := filepath.Glob("../../outlier/detector/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	clock := regexp.MustCompile(`\btime\.(Now|Since|Until|After|AfterFunc|Sleep|Tick|NewTimer|NewTicker)\(|"sync(/atomic)?"`)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if found := clock.Find(b); found != nil && !strings.HasSuffix(f, "_test.go") {
			t.Errorf("%s has %s", f, found)
		}
	}
}

// TestTestSupportStaysOutOfTheProgram: what the relay is built from holds no
// test server and no independent peer.
func TestTestSupportStaysOutOfTheProgram(t *testing.T) {
	for _, p := range list(t, "-deps", "postern/cmd/relay") {
		for _, banned := range []string{"postern/internal/smtptest", "github.com/emersion/go-smtp", "go.uber.org/goleak", "testing"} {
			if p.ImportPath == banned || strings.HasPrefix(p.ImportPath, banned+"/") {
				t.Errorf("the relay is built with %s, which is for tests only", p.ImportPath)
			}
		}
	}
}

package vote

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"postern/mail"
)

func TestPlainTextHasNoMarks(t *testing.T) {
	for in, want := range map[string]string{
		" it's over-quota; doesn't fit.":        " it s over quota | doesnt fit | ",
		" Empfänger größer łódź İı":             " Empfanger groser lodz ii ",
		" \xe9t\xe9 ferm\xe9":                   " ete ferme ",
		" ящик ёлка":                            " ящик елка ",
		" ipアドレスは IP":                           " ip アドレスは IP ",
		" 5.7.1 aup#in-1310":                    " 5 7 1 aup in 1310 ",
		"":                                      " ",
		" a\u0301b":                             " ab ",
		" mail.Please wait":                     " mail Please wait ",
		" \u2028 \x00x":                         " x ",
		" 邮箱已满，请稍后再试":                           " 邮箱已满 请稍后再试 ",
		strings.Repeat(" ", 9) + "a---b":        " a b ",
		" what? no! (really) \"never\" <ADDR>,": " what | no | really never ADDR ",
	} {
		if got := string(appendPlain(nil, in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestLexiconTakesTheLongestEntry(t *testing.T) {
	l := newLexicon("# a comment\na: mail, mail box*\nb: mailbox*, 邮箱\na: 邮箱\nb: does not exist*\nstatus full: 2.2\n")
	for in, want := range map[string]string{
		"mail ":          "a in 4",
		"mails ":         " in 0",
		"mail boxes no":  "a in 10",
		"mail bo ":       "a in 4",
		"mailboxes ":     "b in 9",
		"邮箱已满 ":          "ba in 6",
		"doesnt exists ": "b in 13",
	} {
		set, n := l.find([]byte(in))
		got := ""
		for _, c := range set {
			got += l.concepts[c]
		}
		if got = fmt.Sprintf("%s in %d", got, n); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if len(l.status["2.2"]) != 1 {
		t.Error("a status has no meaning")
	}
}

// TestWordsOfManyLanguages: none of these stands in the labelled replies.
func TestWordsOfManyLanguages(t *testing.T) {
	for reply, want := range map[string]mail.Class{
		"empfänger ist hier nicht bekannt":                  mail.ClassNoSuchUser,
		"ce destinataire est introuvable":                   mail.ClassNoSuchUser,
		"destinatario no encontrado":                        mail.ClassNoSuchUser,
		"este usuário não foi encontrado":                   mail.ClassNoSuchUser,
		"indirizzo del destinatario inesistente":            mail.ClassNoSuchUser,
		"nie znaleziono odbiorcy":                           mail.ClassNoSuchUser,
		"получатель не существует":                          mail.ClassNoSuchUser,
		"alıcı mevcut değil":                                mail.ClassNoSuchUser,
		"受信者は存在しません":                                        mail.ClassNoSuchUser,
		"找不到收件人":                                            mail.ClassNoSuchUser,
		"ihre adresse IP steht auf unserer schwarzen liste": mail.ClassListedIP,
		"l'adresse IP est sur notre liste noire":            mail.ClassListedIP,
		"la IP está en nuestra lista negra":                 mail.ClassListedIP,
		"адрес IP внесен в черный список":                   mail.ClassListedIP,
		"tento uživatel neexistuje":                         mail.ClassNoSuchUser,
		"mottagaren hittades inte, okänd":                   mail.ClassNoSuchUser,
		"користувача не знайдено, не існує":                 mail.ClassNoSuchUser,
		"수신자를 찾을 수 없습니다":                                    mail.ClassNoSuchUser,
		"din IP finns på svarta listan":                     mail.ClassListedIP,
		"IP 주소가 차단 목록에 있습니다":                                mail.ClassListedIP,
	} {
		v := BuiltIn().Weigh(&Reply{Stage: "rcpt", Code: "550", Text: " " + reply})
		if v.Class != want {
			t.Errorf("%s: %s (%.2f, guess %s, %v), want %s", reply, v.Class, v.Sure, v.Guess, v.Tokens, want)
		}
	}
}

// TestCodeAloneDecidesNothing: where no word is known, stage, code and what was masked
// only hint.
func TestCodeAloneDecidesNothing(t *testing.T) {
	for _, r := range []Reply{{Stage: "rcpt", Code: "550"}, {Stage: "connect", Code: "554", Text: " zorp quux"}, {Stage: "rcpt", Code: "550", Status: "5.7.1"}, {},
		{Stage: "rcpt", Code: "550", Status: "5.9.9", Text: " zorp for <ADDR>: quux"}, {Stage: "dot", Code: "554", Text: " zorp IP HOST URL"}} {
		if v := BuiltIn().Weigh(&r); v.Class != mail.ClassOther || v.Sure != 0 {
			t.Errorf("%+v: %+v", r, v)
		}
	}
	if v := BuiltIn().Weigh(&Reply{Stage: "rcpt", Code: "451", Text: " zorp quux"}); v.Class != mail.ClassTemporaryFault || v.Sure != 0 {
		t.Errorf("a 4yz reply says so much: %+v", v)
	}
	if v := BuiltIn().Weigh(&Reply{Stage: "rcpt", Code: "550", Status: "5.1.1"}); v.Class != mail.ClassNoSuchUser {
		t.Errorf("5.1.1 says enough: %+v", v)
	}
}

func TestVerdictNamesWhatDecided(t *testing.T) {
	v := BuiltIn().Weigh(&Reply{Stage: "rcpt", Code: "550", Text: " the mailbox is full"})
	if v.Class != mail.ClassMailboxFull || v.Sure < 0.5 || !strings.Contains(v.Tokens[0].Name, "full") || v.Tokens[0].Weight < v.Tokens[1].Weight {
		t.Errorf("%+v", v)
	}
	if !BuiltIn().Weigh(&Reply{Code: "450", Text: " too many complaints"}).Sign {
		t.Error("complaints are no sign of a listing")
	}
}

func examples() []Example {
	say := func(text string, class mail.Class, also ...mail.Class) Example {
		return Example{Reply: Reply{Stage: "rcpt", Code: "550", Text: " " + text}, Class: class, Also: also}
	}
	return []Example{
		say("user unknown", mail.ClassNoSuchUser), say("unknown user here", mail.ClassNoSuchUser), say("mailbox unknown", mail.ClassNoSuchUser, mail.ClassMailboxDisabled),
		say("mailbox full", mail.ClassMailboxFull), say("user over quota", mail.ClassMailboxFull), say("quota exceeded, full", mail.ClassMailboxFull),
	}
}

func TestTrainedModelIsReadBackAsWritten(t *testing.T) {
	m := Train(examples())
	text := m.String()
	if text != Train(examples()).String() {
		t.Error("the same examples give another model")
	}
	back, err := parseModel("# a comment\n\n" + text)
	if err != nil || back.String() != text {
		t.Fatal(err, "another model is read back")
	}
	for _, e := range examples() {
		if v := back.Weigh(&e.Reply); v.Class != e.Class {
			t.Errorf("%q: %+v", e.Reply.Text, v)
		}
	}
}

func TestParseModelNamesTheFault(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "no classes",
		"word:a 1 2":                  "names no classes",
		"classes other":               "names no classes",
		"classes a b\nword:x 1":       `"word:x" has 1 weights for 2 classes`,
		"classes a b\nword:x 1 b":     `"word:x"`,
		"classes a b\nword:x 1 99999": "out of range",
	} {
		if _, err := parseModel(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzWeigh looks for panics and for likelihoods that are none.
func FuzzWeigh(f *testing.F) {
	f.Add("rcpt", "550", "5.1.1", " user unknown")
	f.Add("", "", "5.", " \xff\xfe 邮箱 |.|;")
	f.Fuzz(func(t *testing.T, stage, code, status, text string) {
		v := BuiltIn().Weigh(&Reply{Stage: stage, Code: code, Status: status, Text: text})
		if !v.Class.OfReply() || !v.Guess.OfReply() || math.IsNaN(v.Sure) || v.Sure < 0 || v.Sure > 1 {
			t.Errorf("%+v", v)
		}
	})
}

// BenchmarkWeighHostile shows that the time grows with the text and no faster.
func BenchmarkWeighHostile(b *testing.B) {
	for _, n := range []int{1 << 10, 4 << 10, 16 << 10} {
		text := strings.Repeat(" user unknown blocked ip list spam 邮箱已满", n/45)
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				BuiltIn().Weigh(&Reply{Stage: "rcpt", Code: "550", Text: text})
			}
		})
	}
}

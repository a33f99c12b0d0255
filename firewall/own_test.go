package firewall

import "testing"

const ownText = `# the rules
table inet tillgate {}
delete table inet tillgate
table inet tillgate {
	chain x { # } flush ruleset
		type filter hook input priority 0; policy accept;
		log prefix "} include; " group 5
	}
}
`

func TestCheckText(t *testing.T) {
	for _, text := range []string{
		ownText,
		"table inet tillgate { chain class_include {} }",
		"table inet tillgate {}; delete table inet tillgate; table inet tillgate { chain x {}; }",
	} {
		if err := CheckText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, tt := range []struct{ text, want string }{
		{"\n", "there are no rules"},
		{"flush ruleset", `the rules do more than to replace table inet tillgate: "flush ruleset"`},
		{ownText + "delete table inet fw4", `the rules do more than to replace table inet tillgate: "delete table inet fw4"`},
		{"table inet fw4 { chain x {} }", `the rules do more than to replace table inet tillgate: "table inet fw4 {}"`},
		{"table inet tillgate {} table inet fw4 {}", `the rules do more than to replace table inet tillgate: "table inet tillgate {} table inet fw4 {}"`},
		{"table ip tillgate {}", `the rules do more than to replace table inet tillgate: "table ip tillgate {}"`},
		{"table inet tillgate { }} flush ruleset", "the rules close a brace that is not open"},
		{"table inet tillgate {", "the rules end within braces"},
		{`table inet tillgate { "`, "the rules end within a comment or a string"},
		{"table inet tillgate { include \"/etc/shadow\"\n}", "the rules include a file"},
		{"table inet tillgate { 1include \"/etc/shadow\"\n}", "the rules include a file"},
		{"include \"/etc/shadow\"\n", "the rules include a file"},
		{"define x = 1", `the rules do more than to replace table inet tillgate: "define x = 1"`},
		{"table inet tillgate { \\\n }", `the rules have '\\' in them`},
	} {
		if err := CheckText([]byte(tt.text)); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.text, err, tt.want)
		}
	}
}

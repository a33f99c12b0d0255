package policy

import (
	"errors"
	"net/netip"
	"testing"

	"tillgate/internal/strictyaml"
)

// fuzzCompile compiles what a fuzz target made. Whatever it is, there is a set
// that decides, or problems with a file and a line each.
func fuzzCompile(t *testing.T, files []File) {
	set, err := Compile(files)
	var problems strictyaml.Problems
	switch {
	case err == nil:
		for _, client := range []string{"10.20.0.5", "::1", "fe80::1"} {
			for _, name := range []string{"", "com", "a.example", "s-1.x.example"} {
				set.Decide(Request{Client: netip.MustParseAddr(client), Name: name})
				set.Suggest(name)
			}
		}
		summarize(set, set)
		// The last good copy of it is as good.
		kept, err := decodeFiles(encodeFiles(set.files))
		if err != nil {
			t.Fatalf("its copy cannot be read: %v", err)
		}
		if again, err := Compile(kept); err != nil || again.Hash() != set.Hash() {
			t.Errorf("its copy is another policy: %v", err)
		}
	case !errors.As(err, &problems) || len(problems) == 0:
		t.Errorf("%T: %v", err, err)
	default:
		for _, p := range problems {
			if p.File == "" || p.Line < 1 || p.Column < 1 || p.Message == "" {
				t.Errorf("a problem without a place: %+v", p)
			}
		}
	}
}

func FuzzPolicyFile(f *testing.F) {
	for _, s := range []string{string(embeddedPolicy().Data), small, smaller, broken, decidePolicy, "", "&a [*a]", "a: &a\n  <<: *a\n",
		"? [x]\n: y\n", "version: !!int 1", "--- 1\n--- 2\n", "{{{", "# x\n\n\n  # y\nversion: 1\n# z", "\xef\xbb\xbfversion: 1", "version: 1\r\nclasses: {}\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzCompile(t, []File{{Name: FileName, Data: data}})
	})
}

func FuzzPackFile(f *testing.F) {
	payxpert, _ := embeddedPack(defaultPack)
	for _, s := range []string{string(payxpert.Data), acme, "pack: payxpert\n", ""} {
		f.Add([]byte(s))
	}
	policy := []byte("version: 1\nclasses: {pos: {networks: [10.20.0.0/24], services: ['payxpert/*']}}\n")
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzCompile(t, []File{{Name: FileName, Data: policy}, {Name: "packs/payxpert.yaml", Data: data}})
	})
}

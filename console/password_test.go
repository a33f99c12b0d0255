package console

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// quick costs a test nothing; the costs of a real one are tried by TestHashPassword.
func quick(password string) *passwordHash {
	h := passwordHash{memory: 8, time: 1, threads: 1, salt: make([]byte, saltLength)}
	h.key = h.derive(password, keyLength)
	return &h
}

func TestHashPassword(t *testing.T) {
	text := HashPassword("correct horse")
	if !strings.HasPrefix(text, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hashed as %s", text)
	}
	h, err := parseHash(text)
	if err != nil {
		t.Fatal(err)
	}
	if !h.matches("correct horse") || h.matches("correct horsf") || h.matches("") {
		t.Error("not the password that it was made of")
	}
	if HashPassword("correct horse") == text {
		t.Error("two hashes have one salt")
	}
}

func TestHashText(t *testing.T) {
	const salt, key = "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	const good = "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key
	if _, err := parseHash(good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"",
		"correct horse",
		good + "\n",
		good + "$",
		strings.Replace(good, "argon2id", "argon2i", 1),
		strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=19456", "m=65537", 1),
		strings.Replace(good, "m=19456", "m=7", 1),
		strings.Replace(good, "m=19456", "m=019456", 1),
		strings.Replace(good, "m=19456", "m=4294967296", 1),
		strings.Replace(good, "t=2", "t=11", 1),
		strings.Replace(good, "t=2", "t=0", 1),
		strings.Replace(good, "p=1", "p=5", 1),
		strings.Replace(good, "p=1", "p=0", 1),
		strings.Replace(good, ",p=1", "", 1),
		strings.Replace(good, salt, salt[:20], 1),
		strings.Replace(good, salt, salt[:21]+"B", 1), // bits that belong to no byte
		strings.Replace(good, key, strings.Repeat("A", 88), 1),
		strings.Replace(good, key, "", 1),
	} {
		if _, err := parseHash(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzPasswordHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=65536,t=10,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHash(text)
		if err != nil {
			return
		}
		if h.String() != text {
			t.Errorf("%q is written as %q", text, h.String())
		}
		if h.memory > maxHashMemory || h.time > maxHashTime || h.threads > maxHashThreads || h.memory < 8*uint32(h.threads) {
			t.Errorf("%q costs too much", text)
		}
	})
}

func TestCheckPassword(t *testing.T) {
	for password, want := range map[string]string{
		"0123456789":                       "",
		"012345678":                        "the password is too short; choose one of 10 characters or more, for instance four words",
		"äöüäöüäöü":                        "the password is too short; choose one of 10 characters or more, for instance four words",
		"äöüäöüäöüß":                       "",
		"012345678\xff":                    "the password is not UTF-8; choose one that can be typed on any keyboard",
		strings.Repeat("x", maxPassword):   "",
		strings.Repeat("x", maxPassword+1): "the password is longer than 1024 bytes; choose a shorter one",
	} {
		if got := errorText(CheckPassword(password)); got != want {
			t.Errorf("%.20q: %q, want %q", password, got, want)
		}
	}
}

func TestPasswordFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, passwordFile)
	if h, err := readPassword(dir); h != nil || err != nil {
		t.Errorf("none: %v, %v", h, err)
	}
	if err := writePassword(dir, quick("correct horse")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v, want mode 0600", info.Mode(), err)
	}
	if h, err := readPassword(dir); err != nil || !h.matches("correct horse") {
		t.Errorf("%v, %v", h, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if h, err := readPassword(dir); h != nil || !errors.Is(err, errPasswordFile) || !strings.Contains(err.Error(), "can be read by others (mode 0640)") {
		t.Errorf("one that a group can read: %v, %v", h, err)
	}
	if err := errors.Join(os.WriteFile(path, []byte("secret\n"), 0o600), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if h, err := readPassword(dir); h != nil || !errors.Is(err, errPasswordFile) {
		t.Errorf("a damaged one: %v, %v", h, err)
	}
	if err := errors.Join(writePassword(dir, nil), writePassword(dir, nil)); err != nil {
		t.Error(err)
	}
	if h, err := readPassword(dir); h != nil || err != nil {
		t.Errorf("removed: %v, %v", h, err)
	}
}

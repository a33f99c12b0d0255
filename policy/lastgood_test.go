package policy

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var someFiles = []File{
	{Name: "policy.yaml", Data: []byte(small)},
	{Name: "packs/acme.yaml", Data: []byte("file policy.yaml folder 3\nxyz\n"), Embedded: true},
	{Name: "packs/empty.yaml", Data: []byte{}},
}

func TestLastGoodRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.last-good")
	if files, err := readLastGood(path); files != nil || err != nil {
		t.Errorf("no copy: %v, %v", files, err)
	}
	must(t, writeLastGood(path, someFiles))
	got, err := readLastGood(path)
	must(t, err)
	if diff := cmp.Diff(someFiles, got, cmp.AllowUnexported(File{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v", info.Mode())
	}

	// The same again writes nothing; another replaces the file, not its content.
	must(t, writeLastGood(path, someFiles))
	again, err := os.Stat(path)
	must(t, err)
	if !os.SameFile(info, again) || !info.ModTime().Equal(again.ModTime()) {
		t.Error("the same copy was written again")
	}
	must(t, writeLastGood(path, someFiles[:1]))
	if again, _ = os.Stat(path); os.SameFile(info, again) {
		t.Error("the copy was written in place")
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("%d files are left", len(entries))
	}
}

func TestLastGoodDamaged(t *testing.T) {
	good := string(encodeFiles(someFiles))
	for name, data := range map[string]string{
		"empty":           "",
		"cut":             good[:len(good)-5],
		"cut at a line":   good[:strings.Index(good, "file ")],
		"a changed byte":  strings.Replace(good, "local/a", "local/b", 1),
		"a later version": strings.Replace(good, "policy 1", "policy 2", 1),
		"no hash":         strings.Replace(good, "hash ", "hush ", 1),
		"a huge size":     strings.Replace(good, " folder ", " folder 9999999999999999999", 1),
		"a negative size": strings.Replace(good, " folder ", " folder -", 1),
		"more at its end": good + "x",
		"too many files":  lastGoodHeader + "hash x\n" + strings.Repeat("file a folder 0\n\n", maxPacks+2),
	} {
		if files, err := decodeFiles([]byte(data)); err != errDamaged {
			t.Errorf("%s: %d files, %v", name, len(files), err)
		}
	}
}

func FuzzLastGood(f *testing.F) {
	f.Add(encodeFiles(someFiles))
	f.Add([]byte(lastGoodHeader + "hash x\nfile a folder 0\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := decodeFiles(data)
		if err != nil {
			return
		}
		again, err := decodeFiles(encodeFiles(files))
		if err != nil || !bytes.Equal(encodeFiles(again), encodeFiles(files)) {
			t.Errorf("%q does not survive a round trip: %v", data, err)
		}
	})
}

package decision

import (
	"testing"
	"testing/synctest"
	"time"
)

// What a caller has counted comes later than others' attempts that were after it: the span of
// the record holds all of them.
func TestRepeatsToldLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := mustOpen(t, Config{Dir: dir, Sync: time.Minute}, quickDisk(), defaults())
		stop := serve(t, j)
		r := denial("10.0.0.1", "x.example")
		j.Record(r) // opens the window
		time.Sleep(4 * time.Second)
		j.attempt(r)
		time.Sleep(time.Second)
		j.Repeats(r, 9, 4*time.Second, 2*time.Second) // from 00:01 to 00:03
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		got, _ := collect(t, dir, Query{})
		if len(got) != 2 || got[1].Count != 10 || !got[1].Time.Equal(at("2000-01-01T00:00:01Z")) || !got[1].Until.Equal(at("2000-01-01T00:00:04Z")) {
			t.Errorf("%+v", got)
		}
	})
}

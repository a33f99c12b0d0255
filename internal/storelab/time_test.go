package storelab

import (
	"regexp"
	"testing"
	"time"
)

// Chrony's client agrees with its server, and not with one that lies by an hour.
func TestTime(t *testing.T) {
	const good, liar = "ntp1.inrim.it", "ntp.obspm.fr"
	s := New(t, Config{Names: []string{good, liar}})
	s.Time(t, good)
	s.ServeTime(t, liar, time.Hour)
	good4, good6 := s.Internet.Addr(t, good)
	liar4, liar6 := s.Internet.Addr(t, liar)
	for addr, want := range map[string]string{
		good4.String(): `wrong by -?0\.0`, good6.String(): `wrong by -?0\.0`,
		liar4.String(): `wrong by 3600\.0|wrong by 3599\.9`, liar6.String(): `wrong by 3600\.0|wrong by 3599\.9`,
	} {
		// It only asks, and tells by its log.
		said, err := s.Box.Run(t.Context(), "sh", "-c", "exec chronyd -Q -t 10 -f /dev/null 'server "+addr+" iburst maxsamples 1' 2>&1")
		if err != nil || !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("%s: %v; want %s in\n%s", addr, err, want, said)
		}
	}
}

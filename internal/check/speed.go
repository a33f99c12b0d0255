package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"tillgate/policy"
)

const (
	// DocumentSpeed is what the provider's document recommends of a line, in bits a second.
	DocumentSpeed = 5_000_000
	// A download that is measured ends at the first of these.
	speedTime  = 10 * time.Second
	speedBytes = 64 << 20
	// tooFew is what a download must have to say something of the line: less is on its
	// way before the connection has found out what the line can do.
	tooFew = 1 << 20
)

// Speed is how fast downloads are, in bits a second.
type Speed struct {
	Wanted uint64  `json:"wanted_bps"`         // what the document recommends
	Seen   uint64  `json:"seen_bps,omitempty"` // the fastest that the box's tunnels have seen since its start
	URL    string  `json:"url,omitempty"`      // what was measured
	Bytes  int64   `json:"bytes,omitempty"`
	Ms     float64 `json:"ms,omitempty"` // from the first byte of the answer
	Bps    uint64  `json:"bps,omitempty"`
	Error  string  `json:"error,omitempty"` // why it could not be measured
}

// CheckSpeedURL returns why a URL is none to measure by.
func CheckSpeedURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a URL", text)
	case u.Scheme != "https":
		return fmt.Errorf("%q does not begin with https://, by which alone the speed is measured", text)
	case u.User != nil:
		return fmt.Errorf("%q has a user name; leave it out", u.Redacted())
	}
	if name, ok := policy.WireName(u.Hostname()); !ok || name == "" || net.ParseIP(name) != nil {
		return fmt.Errorf("%q names no host to look up", text)
	}
	return nil
}

// speed is what there is to say of downloads, after that from a URL unless it is empty.
func (c *Checker) speed(ctx context.Context, text string) Speed {
	s := Speed{Wanted: DocumentSpeed}
	if text != "" {
		c.measure(ctx, text, &s)
	}
	if c.cfg.Fastest != nil {
		s.Seen = c.cfg.Fastest()
	}
	return s
}

// measure downloads by the same way as everything else, and says in s how fast that went.
func (c *Checker) measure(ctx context.Context, text string, s *Speed) {
	s.URL = text
	if err := CheckSpeedURL(text); err != nil {
		s.Error = err.Error()
		return
	}
	client := http.Client{
		Transport: &http.Transport{
			DialContext:         c.dial,
			TLSClientConfig:     &tls.Config{Time: c.cfg.Now, RootCAs: c.cfg.Roots},
			TLSHandshakeTimeout: answerTime,
			DisableKeepAlives:   true,
			DisableCompression:  true,
		},
		CheckRedirect: func(r *http.Request, before []*http.Request) error {
			if len(before) > 3 {
				return errors.New("it leads on and on")
			}
			return CheckSpeedURL(r.URL.String())
		},
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime+connectTime+2*answerTime+speedTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, text, nil)
	if err != nil {
		s.Error = err.Error()
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		s.Error = clip(speedError(err))
		return
	}
	defer resp.Body.Close()
	began := time.Now()
	stop := time.AfterFunc(speedTime, cancel)
	defer stop.Stop()
	s.Bytes, err = io.Copy(io.Discard, io.LimitReader(resp.Body, speedBytes))
	took := time.Since(began)
	s.Ms = float64(took) / float64(time.Millisecond)
	switch {
	case resp.StatusCode != http.StatusOK:
		s.Error = "the answer is " + resp.Status
	case err != nil && took < speedTime:
		s.Error = clip(speedError(err))
	case s.Bytes < tooFew && took < speedTime:
		s.Error = fmt.Sprintf("%d bytes are too few to tell; name something of 1 MB at least", s.Bytes)
	default:
		s.Bps = uint64(float64(s.Bytes) * 8 / took.Seconds())
	}
}

// dial connects to a host as it does for a test.
func (c *Checker) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, err
	}
	if port == httpPort {
		return nil, errors.New("port 80 is not for https")
	}
	t := Target{Host: host, Port: uint16(port), Proto: policy.TCP.String()}
	addrs, err := c.way.resolve(ctx, t)
	if err != nil {
		return nil, err
	}
	conn, _, err := c.way.connect(ctx, t, addrs)
	return conn, err
}

// speedError is an error without the URL, which stands beside it.
func speedError(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if t, ok := errors.AsType[*Trouble](err); ok {
		return remedies[t.Fault].what + ": " + t.Detail
	}
	return err.Error()
}

package policy

// timeNames are the time servers that Android and Windows have built in. No document
// has them; a class with `time: true` may resolve them, to the box.
var timeNames = [...]string{"time.android.com", "time.windows.com"}

func isTimeName(name string) bool { return name == timeNames[0] || name == timeNames[1] }

// decideTime gives the reason for NTP: the box is the time server, whatever
// the name that the client knows it by.
func (s *Set) decideTime(r *Request, d *Decision) {
	class := d.Class
	switch {
	case class == nil:
		d.Reason = UnknownClient
	case class.ntp != nil && !class.ntp.Service.Ended(r.Now):
		d.Reason, d.Rule = class.ntp.Service.reason(), class.ntp
	case class.Time:
		d.Reason = LocalService
	case class.ntp != nil:
		d.Reason, d.Rule = Expired, class.ntp
	case s.ntp != nil:
		d.Reason, d.Rule = OtherClass, s.ntp
	default:
		d.Reason = NotDocumented
	}
}

// TimeServer reports whether some service in force, of whatever class, names a host as a
// time server. It takes a canonical name, makes one look-up and allocates nothing.
func (s *Set) TimeServer(host string) bool {
	exact, _ := s.index.of(s.index.names[host])
	for _, rule := range exact {
		if rule.Service != nil && rule.Has(UDP, ntpPort) {
			return true
		}
	}
	return false
}

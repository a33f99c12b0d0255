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
	case class.ntp != nil && !class.ntp.Service.ended(r.Now):
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

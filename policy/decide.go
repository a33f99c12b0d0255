package policy

// Decide says whether the request is allowed, and why. It is pure, allocates
// nothing, and makes one look-up for each label of the name, and one for each
// length of prefix that rules s-*.x have at its direct parent.
//
// Of several rules that allow, the decision's is the one that allows most
// (private addresses, then no SNI), then the most specific, then the first.
func (s *Set) Decide(r Request) Decision {
	d := Decision{Class: s.Class(r.Client, r.Interface)}
	if r.Plane == NTP {
		s.decideTime(&r, &d)
	} else {
		s.decideName(&r, &d)
	}
	switch {
	case d.Reason == Documented || d.Reason == LocalService:
		d.Verdict = Allow
	case d.Reason.Observable() && d.Class.Mode == Observe:
		d.Verdict = WouldDeny
	}
	return d
}

// decideName gives the reason by the rules of the request's name.
func (s *Set) decideName(r *Request, d *Decision) {
	name, ok := WireName(r.Name)
	switch {
	case IsLiteral(r.Name):
		d.Reason = IPLiteral
		return
	case !ok || name != r.Name || name == "" && r.Plane != DNS:
		d.Reason = BadName
		return
	case d.Class == nil:
		d.Reason = UnknownClient
		return
	}
	f := s.index.find(r, d.Class.bit)
	d.Rule = f.rule
	switch {
	case f.deny != nil:
		d.Reason, d.Rule = DeniedByPolicy, f.deny
	case f.best >= allowed:
		d.Reason = f.rule.Service.reason()
		d.Steer = r.Plane == DNS && f.time && !f.web
		return
	case r.Plane == DNS && d.Class.Time && isTimeName(r.Name):
		d.Reason, d.Rule, d.Steer = LocalService, nil, true
		return
	case f.best == notNow:
		d.Reason = Expired
	case f.best == notPort:
		d.Reason = PortNotAllowed
	case f.best == notClass:
		d.Reason = OtherClass
	default:
		d.Reason = NotDocumented
	}
	d.Above = r.Plane == DNS && s.index.above(&f, r, d.Class.bit)
}

// reason is why what the service has is allowed.
func (s *Service) reason() Reason {
	if s.Local() {
		return LocalService
	}
	return Documented
}

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tillgate/console"
	"tillgate/decision"
	"tillgate/internal/clock"
	"tillgate/policy"
)

func newExplain(p process) *cobra.Command {
	var (
		flags  places
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "explain CLIENT NAME[:PORT]",
		Short: "say what a client may reach, and why",
		Long: `Say whether a client may resolve a name, or with a port may connect to it (port
123: by NTP), and why; which rules are nearest; what others need in practice.

The running box is asked, which also tells what became of the client's attempts of
the last hour, and where there is none the files. CLIENT is an
address; ADDRESS%INTERFACE says what it comes in by, for classes by interface.
The exit status is 1 when it may not.`,
		Example: `  tillgate explain 10.20.1.7 dns.google
  tillgate explain 10.20.1.7 central.payxpert.com:443`,
		Args: takes(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := parseQuestion(args[0], args[1])
			if err != nil {
				return err
			}
			e, err := explain(cmd.Context(), q, flags, p)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(p.stdout, e)
			} else {
				writeExplanation(p, e)
			}
			if err == nil && e.Verdict == policy.Deny.String() {
				return errSaid
			}
			return err
		},
	}
	socketFlag(cmd, &flags.socket)
	configFlag(cmd, &flags.config, "ask the files in this folder, not the running box")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// parseQuestion reads the arguments of explain.
func parseQuestion(client, target string) (console.Question, error) {
	var q console.Question
	addr, iface, _ := strings.Cut(client, "%")
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return q, fmt.Errorf("%q is not a client's address; write it as 10.20.1.7 or fd00:20:1::7", client)
	}
	q.Client, q.Interface = a.Unmap(), iface

	q.Name = target
	if strings.Contains(target, "/") {
		return q, fmt.Errorf("%q is a URL or a network; write the name alone, or NAME:PORT", target)
	}
	if _, err := netip.ParseAddr(target); err == nil {
		return q, nil // an IPv6 address has colons of its own
	}
	if host, port, err := net.SplitHostPort(target); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return q, fmt.Errorf("%q is not a port; write a number from 1 to 65535", port)
		}
		q.Name, q.Port = host, uint16(n)
		q.Proto, q.Plane = policy.TCP, policy.Connect
		switch n {
		case 80:
			q.Plane = policy.HTTP
		case 123:
			q.Proto, q.Plane = policy.UDP, policy.NTP
		}
	}
	if q.Name == "" {
		return q, fmt.Errorf("no name in %q; write NAME or NAME:PORT", target)
	}
	return q, nil
}

// answered is an explanation and who gave it.
type answered struct {
	By string `json:"by"`
	console.Explanation
	Attempts []decision.Record `json:"attempts,omitempty"` // the client's latest on this name, oldest first
}

// explain asks the running box, or the files.
func explain(ctx context.Context, q console.Question, flags places, p process) (answered, error) {
	if flags.config == "" {
		c, _, err := findBox(ctx, flags.socket, p)
		if err == nil {
			e, err := c.Explain(ctx, q)
			if err != nil {
				return answered{}, failed(err)
			}
			return answered{"the box at " + c.Socket, e, attempts(ctx, c, e)}, nil
		}
		if !isNoBox(err) || flags.socket != "" {
			return answered{}, err
		}
	}
	set, by, err := loadPolicy(flags.config, p.getenv)
	if err != nil {
		return answered{}, err
	}
	now := clock.System(time.Now, readBuild().Time).Trusted()
	return answered{By: by, Explanation: console.Explain(set, q, now)}, nil
}

// loadPolicy reads the policy of a folder, by default the installed box's.
func loadPolicy(dir string, getenv func(string) string) (set *policy.Set, by string, err error) {
	named := dir != ""
	if named {
		if err := isFolder(dir); err != nil {
			return nil, "", err
		}
	} else {
		dir = systemPlaces(getenv).config
	}
	set, err = policy.Load(dir)
	if err != nil {
		return nil, "", configurationError{dir, err, "Correct the files."}
	}
	by = ofFolder(dir, set)
	if !named {
		by += ", as no box is running"
	}
	return set, by, nil
}

// ofFolder says where a policy that was loaded from a folder came from: of one
// that is not there, from the program.
func ofFolder(dir string, set *policy.Set) string {
	if embedded, err := policy.Embedded(); err == nil && embedded.Hash() == set.Hash() {
		return "the embedded defaults"
	}
	return "the files in " + dir
}

func writeExplanation(p process, e answered) {
	d := newDisplay(p.stdout, p.getenv)
	colour := map[string]string{"allow": green, "deny": red, "would-deny": yellow}[e.Verdict]
	fmt.Fprintf(p.stdout, "%s: %s\n", d.paint(colour, e.Verdict), headline(e.Explanation))
	facts := [][2]string{{"why", printable(e.Text) + " (" + e.Reason + ")"}}
	add := func(label, text string) { facts = append(facts, [2]string{label, printable(text)}) }
	if e.Verdict == policy.WouldDeny.String() {
		add("mode", "class "+e.Class+" is observed: it is let through, and recorded")
	}
	if e.Above {
		add("but", "a name below it is allowed, so the answer is empty and not that it does not exist")
	}
	if m := e.Rule; m != nil {
		add("rule", describeMatch(*m))
		add("purpose", serviceWords(*m))
	}
	if e.Verdict != policy.Allow.String() {
		add("ports", strings.Join(e.Ports, ", "))
		add("allowed to", strings.Join(e.Others, ", "))
		for i, m := range e.Nearest {
			add([]string{"nearest", ""}[min(i, 1)], describeMatch(m))
		}
	}
	if _, err := netip.ParseAddr(e.Name); err == nil && e.Class != "" {
		add("firewall", "where its rules are in force, what goes to an address comes to the box by the TCP ports that rules of class "+e.Class+
			" have, and is judged by the name that it says there; by others it is refused, but for networks within the store")
	}
	if s := e.Suggestion; s != nil {
		add("known", s.Host+" goes with "+s.Near+": "+s.Why)
	}
	for _, c := range e.Interfaces {
		add("by interface", c.Class+" is what comes in by "+strings.Join(c.Interfaces, ", ")+"; ask with "+e.Client.String()+"%"+c.Interfaces[0])
	}
	story := newStory()
	for i, r := range e.Attempts {
		add([]string{"lately", ""}[min(i, 1)], attempted(story, &r))
	}
	add("policy", e.Policy+", of "+e.By)
	d.facts(p.stdout, facts...)
}

// headline is what was asked, as a sentence that the verdict stands before.
func headline(e console.Explanation) string {
	client := e.Client.String()
	if e.Class != "" {
		client += " (" + e.Class + ")"
	}
	verb, may := "resolve ", "may "
	target := printable(e.Name)
	if e.Name == "" {
		target = "."
	}
	if e.Port != 0 {
		verb = "connect to "
		target = net.JoinHostPort(target, strconv.Itoa(int(e.Port)))
		if e.Proto == "udp" {
			target += " by UDP"
		}
	}
	if e.Verdict == policy.Deny.String() {
		may = "may not "
	}
	return client + " " + may + verb + target
}

// describeMatch is a rule in one line.
func describeMatch(m console.Match) string {
	text := strings.Join(append([]string{m.Host + m.Network}, m.Ports...), " ")
	switch {
	case m.Service == "":
		text = "deny " + text
	case m.Row != 0:
		text += ", row " + strconv.Itoa(m.Row) + " " + m.Service
	default:
		text += ", " + m.Service
	}
	return text + ", " + m.At
}

// serviceWords is what the document or the store says of a rule's service.
func serviceWords(m console.Match) string {
	var words []string
	for _, w := range []string{m.Title, m.Requirement, m.Why} {
		if w != "" {
			words = append(words, w)
		}
	}
	if !m.Until.IsZero() {
		words = append(words, "until "+m.Until.Local().Format("2006-01-02 15:04"))
	}
	return strings.Join(words, ", ")
}

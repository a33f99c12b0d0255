package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// TestStorePage drives the console as a person does who sits at the box, while terminals
// try what they may and what they may not.
func TestStorePage(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "chromium", "chronyd", "curl")
	pagePolicy := strings.Replace(storePolicy, "[payxpert/central]}", "[payxpert/central], mode: observe}", 1)
	store, web := webStore(t, timeServers...)
	store.Upstream.Serve(t, "ok.lab.example. 300 A 45.60.7.1")
	store.Time(t, timeServers...)
	asInAStore(store.Box)
	store.Box.Write(t, "policy.yaml", pagePolicy)
	// How rules were used is read from the disk.
	store.Box.Write(t, settingsFile, "journal: {sync: 100ms, repeat_window: 1s}\ntime: {servers: ["+strings.Join(timeServers, ", ")+"]}\n")
	box := store.Box.Start(t)
	till, tablet, office := store.Terminal(t, "pos"), store.Terminal(t, "sunmi"), store.Terminal(t, "pc")
	p := openPage(t, store)

	step := func(name string, f func(*testing.T)) {
		if t.Failed() { // a step stands on those before
			return
		}
		t.Run(name, func(t *testing.T) {
			p.t = t
			f(t)
		})
	}

	// Something to be seen.
	if err := os.WriteFile(filepath.Join(web.Root, "update.apk"), make([]byte, 4<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"apk.cdn.eu.sunmi.com", "api.eu.sunmi.com"} {
		if _, err := tablet.Run(t.Context(), "curl", "-sSf", "-o", "/dev/null", "--cacert", store.CA.File,
			"-x", "http://"+netip.AddrPortFrom(tablet.Box4, 3128).String(), "https://"+name+"/update.apk"); err != nil {
			t.Fatal(err)
		}
	}
	resolve(t, till, "udp", till.Box4, question("ok.lab.example", dns.TypeA))
	denied(t, till, "www.example.com")
	denied(t, tablet, "central.payxpert.com")
	resolve(t, office, "udp", office.Box4, question("www.news.example", dns.TypeA)) // let through: the class is observed
	connect(t, store, till, "www.example.com")

	step("overview", func(t *testing.T) {
		p.open("", "All is well")
		p.has("#blocked ~ div li", till.Addr4.String()+" (pos): www.example.com:443 — no rule names it")
		p.has("#blocked ~ div li", tablet.Addr4.String()+" (sunmi): central.payxpert.com — it is in row 4 of the document, payxpert/central, which class sunmi does not have")
		p.has("#passed ~ div li", office.Addr4.String()+" (pc): www.news.example — no rule names it")
		if eval[bool](p, "document.querySelector('#blocked ~ div').textContent.includes('www.news.example')") {
			t.Error("what was let through stands as blocked")
		}
		p.has(".well", "Time service well")
		p.has(".well", "Firewall well none is kept here")
		p.wait("document.querySelectorAll('figure canvas').length === 2")
		p.has("figcaption", "8.4 MB received")
		p.picture("overview")
		p.look(360, 740, "light")
		p.do(chromedp.Reload())
		p.has("figcaption", "8.4 MB received")
		p.picture("phone")
		p.look(1200, 900, "light")
	})

	step("log", func(t *testing.T) {
		p.open("log?verdict=deny&name=never.example", "Log")
		p.has("main > p", "Nothing yet that these filters choose.")
		p.open("log?verdict=deny", "Log")
		p.has(".tools .badge", "live")
		p.has("select[name=class]", "allsunmipospc")
		p.has(".records li", "central.payxpert.com")
		denied(t, till, "live.example.com") // while one looks
		p.has(".records li:first-child", "denied "+till.Addr4.String()+" (pos) live.example.com A no rule names it")
		if eval[bool](p, "document.querySelector('.records').textContent.includes('ok.lab.example')") {
			t.Error("the filter shows what was allowed")
		}
		p.click(".records li:first-child summary")
		p.has(".records li:first-child dl", "reasonnot-documented")
		p.has(".records li:first-child dl", "rcodeNXDOMAIN")
		p.picture("log")

		// Whatever comes over the wire is text.
		denied(t, till, `<img\032src=x\032onerror=alert\0401\041>.example`)
		p.has(".records li:first-child .target", "img")
		if eval[int](p, "document.querySelectorAll('main img').length") > 0 {
			t.Error("a name became markup")
		}

		// Filters are in the address, which somebody else can open.
		p.fill("name", "live.example.com")
		p.do(chromedp.KeyEvent("\r"))
		p.wait("location.hash === '#/log?verdict=deny&name=live.example.com'")
		p.wait("document.querySelectorAll('.records li').length === 1")

		// Paused, rows wait.
		p.click(".tools button")
		denied(t, tablet, "live.example.com")
		p.has(".tools button", "Go on (1 new)")
		p.click(".tools button")
		p.wait("document.querySelectorAll('.records li').length === 2")
	})

	step("story", func(t *testing.T) {
		p.open("client?client="+till.Addr4.String(), "The story of "+till.Addr4.String())
		p.has("main", "Class pos: ")
		p.has(".records li:first-child", "ok.lab.example A")
		p.has(".records li:nth-child(n+3)", "www.example.com:443")
	})

	step("explain", func(t *testing.T) {
		p.open("explain", "Explain")
		p.fill("client", tablet.Addr4.String())
		p.fill("name", "central.payxpert.com:443")
		p.do(chromedp.KeyEvent("\r"))
		p.has(".card.deny h2", tablet.Addr4.String()+" (sunmi) may not reach central.payxpert.com on port 443")
		p.has(".card.deny", "documented, but not for this class of device (other-class)")
		p.has(".card.deny", "Allowed forpc")
		p.has("h2 + .records li", "central.payxpert.com")
	})

	step("policy", func(t *testing.T) {
		p.open("policy", "Policy in force")
		p.has("h3", "Row 1: PayXpress EMV Backend required")
		p.has("tr", "*.lab.exampletcp/4431–")
		p.has("tr", "central.payxpert.comtcp/443–1")
	})

	step("changes", func(t *testing.T) {
		store.Box.Write(t, "policy.yaml", pagePolicy+"nonsense: 1\n")
		waitFor(t, func() bool { return len(journal(t, store, "--plane", "policy")) > 0 })
		p.open("changes", "Changes")
		p.has(".card.bad", "policy.yaml:12:1: unknown key")
		p.has(".events li", "refused")
		store.Box.Write(t, "policy.yaml", pagePolicy)
	})

	step("who is not logged in may look", func(t *testing.T) {
		p.open("observe", "Observe")
		p.has(".notice", "tillgate console passwd")
		p.accessible("#/observe")
		p.open("check?class=pos", "Check")
		p.click("main form button")
		p.has("tbody tr", "api-pos-default-v4.payxpert.com:443")
	})

	restart := func() { box = store.Box.Start(t) } // for all that follows
	step("the box is gone for a while", func(t *testing.T) {
		p.open("log?name=*.example.com", "Log")
		p.has(".tools .badge", "live")
		p.has(".records li:first-child", tablet.Addr4.String()+" (sunmi) live.example.com")
		p.click(".records li:last-child summary")
		rows := eval[int](p, "document.querySelectorAll('.records li').length")
		if status := box.Stop(t); status != 0 {
			t.Errorf("the box ended with status %d", status)
		}
		p.has("#lost", "No answer from the box since")
		restart()
		denied(t, till, "back.example.com")
		p.wait("document.querySelector('#lost').hidden")
		p.has(".records li:first-child", "back.example.com")
		// Each record has come once, and what was opened still is.
		p.wait(fmt.Sprintf("document.querySelectorAll('.records li').length === %d", rows+1))
		p.wait("document.querySelector('.records li:last-child details').open")
	})

	step("login", func(t *testing.T) {
		const password = "correct horse battery"
		if _, err := store.Box.Tell(t.Context(), password+"\n", "console", "passwd"); err != nil {
			t.Fatal(err)
		}
		p.open("observe", "Log in")
		p.accessible("#/login")
		p.fill("password", "a wrong one altogether")
		p.do(chromedp.KeyEvent("\r"))
		p.has(".notice", "that is not the password")
		p.fill("password", password)
		p.do(chromedp.KeyEvent("\r"))
		p.has("h1", "Observe")
	})

	step("observe", func(t *testing.T) {
		p.fill("reason", "ticket 4711")
		p.click("main form button")
		p.has(".blocked li", "observed sunmi until")
		p.has(".blocked li", "ticket 4711, by console")
		p.accessible("#/observe")
		p.click(".blocked button")
		p.has("main", "No class is observed.")
	})

	step("check", func(t *testing.T) {
		p.open("check?class=pos", "Check")
		p.click("main form button")
		p.has("tbody tr", "api-pos-default-v4.payxpert.com:443")
		p.has("caption", "By row of the document")
		p.accessible("#/check")
	})

	views := []struct{ view, heading, ready string }{
		{"", "", "figcaption"},
		{"log", "Log", ".records li"},
		{"client?client=" + till.Addr4.String(), "The story of", ".records li"},
		{"explain?client=" + till.Addr4.String() + "&name=www.example.com&port=443", "Explain", ".card"},
		{"check", "Check", "form"},
		{"policy", "Policy in force", "h3"},
		{"changes", "Changes", ".events li"},
		{"observe", "Observe", "form"},
		{"nothing", "Not found", "p"},
		{"constructor", "Not found", "p"},
	}
	for _, look := range []struct {
		scheme        string
		width, height int64
	}{{"light", 1200, 900}, {"dark", 360, 740}} {
		step(fmt.Sprintf("%s, %d px", look.scheme, look.width), func(t *testing.T) {
			p.look(look.width, look.height, look.scheme)
			for _, v := range views {
				p.open(v.view, v.heading)
				p.has(v.ready, "")
				where := "#/" + v.view
				p.fits(where)
				p.accessible(where)
			}
		})
	}

	step("bounds", func(t *testing.T) {
		p.look(1200, 900, "light")
		p.open("log?verdict=deny&name=*.many.example", "Log")
		p.has(".tools .badge", "live")
		p.click(".tools button")
		asked := 0
		waitFor(t, func() bool { // of too many at once some are counted, not told one by one
			for range 100 {
				denied(t, till, fmt.Sprintf("n%d.many.example", asked))
				asked++
			}
			return eval[bool](p, "document.querySelector('.tools button').textContent === 'Go on (500 or more new)'")
		})
		p.click(".tools button")
		p.wait("document.querySelectorAll('.records li').length === 500")
		denied(t, tablet, "one.many.example")
		p.has(".records li .client", tablet.Addr4.String())
		p.wait("document.querySelectorAll('.records li').length === 500")

		// A screen reader hears of denials, though not of each.
		waitFor(t, func() bool {
			asked++
			denied(t, tablet, fmt.Sprintf("n%d.many.example", asked))
			return eval[bool](p, "/denial|Denied/.test(document.querySelector('[aria-live].unseen').textContent)")
		})
	})

	step("logout", func(t *testing.T) {
		p.click("#logout")
		p.has("h1", "Log in")
		p.open("log", "Log in")
	})
}

// denied asks the box for a name that it denies.
func denied(t *testing.T, term *storelab.Terminal, name string) {
	t.Helper()
	if _, gist := addresses(resolve(t, term, "udp", term.Box4, question(name, dns.TypeA))); gist != "NXDOMAIN ede 15" {
		t.Fatalf("%s was answered with %s", name, gist)
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"tillgate/internal/storelab"
)

// A page is the console in Chromium on the box itself.
type page struct {
	t   *testing.T
	ctx context.Context
	axe string // the source of axe-core
}

// consoleURL is where listen.console is by default.
const consoleURL = "http://127.0.0.1:8053/"

// openPage starts Chromium. What the page reports as an error is an error of the test, and
// so is what its Content-Security-Policy stops.
func openPage(t *testing.T, store *storelab.Store) *page {
	t.Helper()
	storelab.Need(t, "chromium")
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := store.Scripts()
	if err != nil {
		t.Fatal(err)
	}
	onBox := filepath.Join(scripts, store.Box.Name)
	home := t.TempDir()
	ctx, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath("chromium"), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.NoInheritEnv, chromedp.Env("PATH="+os.Getenv("PATH"), "HOME="+home, "TZ=UTC", "LANG=en_GB.UTF-8"),
		chromedp.UserDataDir(filepath.Join(home, "profile")),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("lang", "en-GB"), chromedp.Flag("no-proxy-server", true),
		chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
			cmd.Path, cmd.Args = onBox, append([]string{onBox, "chromium"}, cmd.Args[1:]...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		}))
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(cancel)
	// Chromium lives as long as the context that it is first used with: none that times out.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1200, 900)); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	p := &page{t: t, ctx: ctx, axe: string(axe)}
	told := make(chan struct{})
	go func() {
		defer close(told)
		for m, err := range chromedp.Console(ctx) {
			switch {
			case err != nil:
				return
			case m.IsException(), m.Source == "security", m.Source == "violation":
				t.Errorf("the page: %s (%s:%d)", m, m.URL, m.Line)
			}
		}
	}()
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("ending Chromium: %v", err)
		}
		<-told
	})
	return p
}

// pagePatience is how long anything that the browser is asked for may take.
const pagePatience = 30 * time.Second

func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pagePatience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("%v; the page is\n%s", err, p.text())
	}
}

// text is what the page shows.
func (p *page) text() string {
	ctx, cancel := context.WithTimeout(p.ctx, pagePatience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
	if err != nil {
		return err.Error()
	}
	return text
}

// eval returns what a script does, and waits for its promise.
func eval[T any](p *page, script string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pagePatience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v; the page is\n%s", script, err, p.text())
	}
	return v
}

// wait waits until a script says true.
func (p *page) wait(script string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pagePatience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](script, chromedp.WithPollingInterval(50*time.Millisecond))); err != nil {
		p.t.Fatalf("waiting for %s: %v; the page is\n%s", script, err, p.text())
	}
}

// has waits until some element that a selector finds has a text, with any white space as
// one space.
func (p *page) has(selector, text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("[...document.querySelectorAll(%s)].some((e) => e.textContent.replace(/\\s+/g, ' ').includes(%s))", quoted(selector), quoted(text)))
}

// open goes to a view.
func (p *page) open(view, heading string) {
	p.t.Helper()
	if eval[bool](p, "location.href.startsWith("+quoted(consoleURL)+")") {
		eval[bool](p, "location.hash = "+quoted("#/"+view)+", true")
	} else {
		p.do(chromedp.Navigate(consoleURL + "#/" + view))
	}
	p.has("h1", heading)
}

// asInAStore has the box keep its files where a store's does, for pictures.
func asInAStore(box *storelab.Box) {
	if os.Getenv("TILLGATE_SCREENSHOTS") == "" {
		return
	}
	box.Config, box.State = systemPlaces(func(string) string { return "" }).config, "/var/lib/tillgate"
	box.Env = append(box.Env, "CONFIGURATION_DIRECTORY="+box.Config, "STATE_DIRECTORY="+box.State)
}

// fill types into a control of the form, as a person does.
func (p *page) fill(name, text string) {
	p.t.Helper()
	at := `main [name="` + name + `"]`
	p.do(chromedp.WaitVisible(at), chromedp.Clear(at), chromedp.SendKeys(at, text))
}

func (p *page) click(at string) {
	p.t.Helper()
	p.do(chromedp.Click(at))
}

// look is how the page is shown: its width in CSS pixels, and the scheme of its colours.
func (p *page) look(width, height int64, scheme string) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// fits wants nothing to stand out of the page's width.
func (p *page) fits(where string) {
	p.t.Helper()
	if over := eval[int](p, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
		p.t.Errorf("%s: the page is %d px too wide", where, over)
	}
	if cut := eval[string](p, `[...document.querySelectorAll("input[placeholder]")].filter((e) => {
		const style = getComputedStyle(e), pen = document.createElement("canvas").getContext("2d");
		pen.font = style.font;
		return pen.measureText(e.placeholder).width > e.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
	}).map((e) => e.placeholder).join(", ")`); cut != "" {
		p.t.Errorf("%s: cut off: %s", where, cut)
	}
}

// accessible wants axe-core to find nothing serious.
func (p *page) accessible(where string) {
	p.t.Helper()
	if !eval[bool](p, "typeof axe === 'object'") {
		eval[bool](p, p.axe+";true")
	}
	found := eval[string](p, `axe.run(document, {resultTypes: ["violations"]}).then((r) => JSON.stringify(r.violations
		.filter((v) => v.impact === "serious" || v.impact === "critical")
		.map((v) => v.id + ": " + v.nodes.map((n) => n.html + " " + n.failureSummary).join("\n")).concat(r.passes.length ? [] : ["nothing was looked at"])))`)
	var problems []string
	if err := json.Unmarshal([]byte(found), &problems); err != nil {
		p.t.Fatal(err)
	}
	for _, problem := range problems {
		p.t.Errorf("%s: %s", where, problem)
	}
}

// picture writes what the page looks like to the folder TILLGATE_SCREENSHOTS, if that is set: for
// the README. The box has its files where a store's has them then: run the test in a mount
// namespace with empty ones of the box's user.
func (p *page) picture(name string) {
	p.t.Helper()
	dir := os.Getenv("TILLGATE_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, pagePatience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		p.t.Errorf("a picture of %s: %v", name, err)
	}
}

// quoted is a text as JavaScript has it.
func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

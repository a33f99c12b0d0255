package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"tillgate/console"
	"tillgate/decision"
	"tillgate/internal/storelab"
)

// TestStoreConsole: beyond the box the console is there once a password is set, by TLS, for
// the admin's machine alone; what he changes there is recorded as the console's.
func TestStoreConsole(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "curl")
	store := storelab.New(t, storelab.Config{})
	admin := store.Terminal(t, "pc")
	other, till := store.Terminal(t, "pc"), store.Terminal(t, "pos")
	store.Box.Write(t, "policy.yaml", storePolicy)
	store.Box.Write(t, "tillgate.yaml", `
listen: {console: ["127.0.0.1:8053", ":8054"]}
firewall: {admin: [`+admin.Addr4.String()+`/32]}
`)
	box := store.Box.Start(t)
	const password = "correct horse battery staple"
	jar := filepath.Join(t.TempDir(), "jar")
	url := "https://" + admin.Box4.String() + ":8054"
	curl := func(term *storelab.Terminal, args ...string) (string, error) {
		return term.Run(t.Context(), append([]string{"curl", "-sS", "--fail-with-body", "--cacert", filepath.Join(store.Box.State, "console.crt"),
			"-b", jar, "-c", jar, "-H", "Content-Type: application/json"}, args...)...)
	}

	if out, err := curl(admin, "-k", url); err == nil {
		t.Errorf("it answers without a password: %s", out)
	}
	out, _ := store.Box.Tillgate(t.Context(), "status")
	if !strings.Contains(out, "not at :8054: no password is set; set one on the box: tillgate console passwd") {
		t.Errorf("status without a password:\n%s", out)
	}
	passwd := append(append([]string{"env"}, store.Box.Env...), "sh", "-c", "echo '"+password+"' | tillgate console passwd --json")
	out, err := store.Box.Run(t.Context(), passwd...)
	var reach console.Reach
	if bad := json.Unmarshal([]byte(out), &reach); err != nil || bad != nil || !reach.Password || reach.State != "ok" || reach.Fingerprint == "" {
		t.Fatalf("the password is not in force: %v\n%s", err, out)
	}
	if out, _ = store.Box.Tillgate(t.Context(), "status", "--json"); !strings.Contains(out, reach.Fingerprint) {
		t.Errorf("status does not tell the fingerprint:\n%s", out)
	}

	if out, err := curl(admin, url); err != nil || !strings.Contains(out, "<html") {
		t.Errorf("no page: %v %s", err, out)
	}
	if out, err := curl(admin, url+"/v1/status"); err == nil {
		t.Errorf("looked without a login: %s", out)
	}
	if out, err := admin.Run(t.Context(), "curl", "-sS", url); err == nil {
		t.Errorf("somebody vouches for the certificate: %s", out)
	}
	for name, term := range map[string]*storelab.Terminal{"another machine of the office": other, "a till": till} {
		if out, err := curl(term, "-k", "https://"+term.Box4.String()+":8054"); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
	if out, err := curl(admin, "-d", `{"password":"`+password+`"}`, url+"/v1/login"); err != nil {
		t.Fatalf("login: %v %s", err, out)
	}
	if out, err := curl(admin, "-d", `{"class":"pos","for":"1h","reason":"till 4"}`, url+"/v1/observe"); err != nil {
		t.Errorf("observe: %v %s", err, out)
	}
	if out, err := curl(admin, "-u", "prometheus:"+password, url+"/metrics"); err != nil || !strings.Contains(out, `tillgate_part_state{part="console",state="ok"} 1`) {
		t.Errorf("metrics: %v %s", err, out)
	}
	var observed, loggedIn bool
	for _, r := range journal(t, store) {
		observed = observed || r.Class == "pos" && r.By == "console"
		loggedIn = loggedIn || r.Event == string(decision.EventLogin) && r.Client == admin.Addr4.String() && r.By == "console"
	}
	if !observed || !loggedIn {
		t.Errorf("recorded: observed by the console %v, logged in %v", observed, loggedIn)
	}

	// After a restart it is there at once, with the certificate that it had.
	box.Stop(t)
	store.Box.Start(t)
	if out, err := curl(admin, url+"/v1/session"); err != nil || !strings.Contains(out, `"login":true`) {
		t.Errorf("after a restart: %v %s", err, out)
	}
	if out, err := store.Box.Tillgate(t.Context(), "log", "--plane", "system"); err != nil || !strings.Contains(out, "the console's certificate is SHA-256 "+reach.Fingerprint) {
		t.Errorf("the start does not tell the fingerprint: %v\n%s", err, out)
	}
}

package console

import (
	"context"
	"net/http"

	"tillgate/policy"
)

// PolicyFiles are what the policy in force was made of. Classes that are observed for a
// while are not among what they say.
type PolicyFiles struct {
	Files []PolicyFile `json:"files"`
}

// PolicyFile is policy.yaml or a pack in force.
type PolicyFile struct {
	Name     string `json:"name"` // as packs/acme.yaml
	Text     string `json:"text"`
	Embedded bool   `json:"embedded,omitempty"` // it came with the program
}

func (a *API) policyFiles(w http.ResponseWriter, _ *http.Request) {
	files := PolicyFiles{Files: []PolicyFile{}}
	for _, f := range a.cfg.Policy().Files() {
		files.Files = append(files.Files, PolicyFile{f.Name, string(f.Data), f.Embedded})
	}
	reply(w, files)
}

// PolicySet asks for the policy in force, and returns it compiled from its files.
func (c *Client) PolicySet(ctx context.Context) (*policy.Set, error) {
	answer, err := ask[PolicyFiles](ctx, c, "/v1/policy/files")
	if err != nil {
		return nil, err
	}
	files := make([]policy.File, len(answer.Files))
	for i, f := range answer.Files {
		files[i] = policy.File{Name: f.Name, Data: []byte(f.Text), Embedded: f.Embedded}
	}
	return policy.Compile(files)
}

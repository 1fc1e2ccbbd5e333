// Users: who they are, and what they may.
//
// Lives here: tokens, the kubeconfig with a context for each user, and the Roles. The administrator has a client certificate.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// user has a token, a context of the same name, and these rights in the namespace `default`.
type user struct {
	name  string
	rules []rbac.PolicyRule
}

var (
	streams   = []string{"pods/exec", "pods/attach", "pods/portforward"}
	seePods   = rule([]string{"get", "list", "watch"}, "", "pods")
	readLogs  = rule([]string{"get"}, "", "pods/log")
	seeOwners = []rbac.PolicyRule{
		rule([]string{"get", "list", "watch"}, "", "services", "endpoints", "replicationcontrollers"),
		rule([]string{"get", "list", "watch"}, "apps", "deployments", "replicasets", "statefulsets", "daemonsets"),
		rule([]string{"get", "list", "watch"}, "batch", "jobs"),
		rule([]string{"get", "list", "watch"}, "discovery.k8s.io", "endpointslices"),
	}
)

var users = []user{
	{"full", append([]rbac.PolicyRule{
		seePods, readLogs,
		rule([]string{"get", "create"}, "", append([]string{"pods/proxy", "services/proxy"}, streams...)...),
	}, seeOwners...)},
	{"get-only", []rbac.PolicyRule{seePods, readLogs, rule([]string{"get"}, "", streams...)}},
	{"create-only", []rbac.PolicyRule{seePods, rule([]string{"create"}, "", streams...)}},
	{"blind", []rbac.PolicyRule{rule([]string{"get", "create"}, "", streams...)}},
	{"none", nil},
}

func rule(verbs []string, group string, resources ...string) rbac.PolicyRule {
	return rbac.PolicyRule{Verbs: verbs, APIGroups: []string{group}, Resources: resources}
}

// writeUsers writes the API server's token file and the kubeconfig.
func (f *fixture) writeUsers() error {
	config := clientcmdapi.NewConfig()
	authority, err := os.ReadFile(f.path("ca.crt"))
	if err != nil {
		return err
	}
	certificate, err := os.ReadFile(f.path("admin.crt"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(f.path("admin.key"))
	if err != nil {
		return err
	}
	config.Clusters["wsx-real"] = &clientcmdapi.Cluster{Server: f.server(), CertificateAuthorityData: authority}
	add := func(name string, credentials *clientcmdapi.AuthInfo) {
		config.AuthInfos[name] = credentials
		config.Contexts[name] = &clientcmdapi.Context{Cluster: "wsx-real", AuthInfo: name, Namespace: podNamespace}
	}
	add("admin", &clientcmdapi.AuthInfo{ClientCertificateData: certificate, ClientKeyData: key})
	config.CurrentContext = "admin"
	var lines strings.Builder
	for _, u := range users {
		secret := make([]byte, 16)
		rand.Read(secret)
		token := hex.EncodeToString(secret)
		fmt.Fprintf(&lines, "%s,%s,%s,\n", token, u.name, u.name)
		add(u.name, &clientcmdapi.AuthInfo{Token: token})
	}
	if err := os.WriteFile(f.path("tokens.csv"), []byte(lines.String()), 0o600); err != nil {
		return err
	}
	return clientcmd.WriteToFile(*config, f.kubeconfig())
}

func (f *fixture) kubeconfig() string { return f.path("kubeconfig") }
func (f *fixture) server() string     { return fmt.Sprintf("https://%s:%d", f.host(), f.Port) }

// client speaks to the API server with one of the run's client certificates.
func (f *fixture) client(certificate string) (*kubernetes.Clientset, error) {
	return kubernetes.NewForConfig(&rest.Config{
		Host:  f.server(),
		QPS:   100,
		Burst: 200,
		TLSClientConfig: rest.TLSClientConfig{
			CAFile:   f.path("ca.crt"),
			CertFile: f.path(certificate + ".crt"),
			KeyFile:  f.path(certificate + ".key"),
		},
	})
}

// createRoles gives every user what it may do.
func createRoles(ctx context.Context, client kubernetes.Interface) error {
	for _, u := range users {
		if u.rules == nil {
			continue
		}
		role := &rbac.Role{ObjectMeta: meta.ObjectMeta{Name: u.name}, Rules: u.rules}
		if _, err := client.RbacV1().Roles(podNamespace).Create(ctx, role, meta.CreateOptions{}); err != nil {
			return err
		}
		binding := &rbac.RoleBinding{
			ObjectMeta: meta.ObjectMeta{Name: u.name},
			RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: u.name},
			Subjects:   []rbac.Subject{{APIGroup: rbac.GroupName, Kind: "User", Name: u.name}},
		}
		if _, err := client.RbacV1().RoleBindings(podNamespace).Create(ctx, binding, meta.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// The front of every portal before skyd: short addresses, subdomains, CORS, and headers and names required by skyd.
package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
)

var (
	shortForm    = regexp.MustCompile(`^/([A-Za-z0-9_-]{46}|[a-z0-9]{55})(/.*)?$`)
	pinForm      = regexp.MustCompile(`^/skynet/pin/`)
	uploadForm   = regexp.MustCompile(`^/skynet/skyfile(/.*)?$`)
	subdomain    = regexp.MustCompile(`^([a-z0-9]{55})\.`)
	skylinkInTus = regexp.MustCompile(`(?:^|,)\s*Skylink ([A-Za-z0-9+/=]+)`)
)

// 10 GiB, in bytes. Skyd refuses TUS uploads without a limit.
const maxUploadSize = "10737418240"

// A handler that passes requests to skyd's API at this address.
func front(api, password string) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { rewrite(r, api, password) },
		ModifyResponse: afterwards,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			cors(w.Header(), r)
			w.Header().Set("Access-Control-Allow-Methods", r.Header.Get("Access-Control-Request-Method"))
			w.Header().Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if r.URL.Path == "/" && !subdomain.MatchString(r.Host) {
			cors(w.Header(), r)
			w.WriteHeader(http.StatusOK)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

func rewrite(r *httputil.ProxyRequest, api, password string) {
	r.SetURL(&url.URL{Scheme: "http", Host: api})
	r.Out.Host = r.In.Host
	r.Out.Header.Set("User-Agent", "Sia-Agent")
	r.Out.SetBasicAuth("", password)
	r.Out.Header.Set("SkynetMaxUploadSize", maxUploadSize)
	path := r.In.URL.EscapedPath()
	if match := subdomain.FindStringSubmatch(r.In.Host); match != nil {
		path = "/skynet/skylink/" + match[1] + path
	} else if shortForm.MatchString(path) {
		path = "/skynet/skylink" + path
	}
	if r.In.Method == http.MethodPost && uploadForm.MatchString(path) {
		path = "/skynet/skyfile/" + name()
	}
	if r.In.Method == http.MethodPost && pinForm.MatchString(path) {
		query := r.Out.URL.Query()
		query.Set("siapath", name())
		r.Out.URL.RawQuery = query.Encode()
	}
	r.Out.URL.RawPath = path
	r.Out.URL.Path, _ = url.PathUnescape(path)
}

// A unique name in skyd's file tree.
func name() string {
	bytes := make([]byte, 16)
	_, _ = rand.Read(bytes)
	return hex.EncodeToString(bytes)
}

func afterwards(answer *http.Response) error {
	cors(answer.Header, answer.Request)
	// TUS has the skylink in its metadata; portals sent it in a separate header.
	if match := skylinkInTus.FindStringSubmatch(answer.Header.Get("Upload-Metadata")); match != nil {
		skylink, err := base64.StdEncoding.DecodeString(match[1])
		if err == nil {
			answer.Header.Set("Skynet-Skylink", string(skylink))
		}
	}
	return nil
}

func cors(header http.Header, r *http.Request) {
	here := "http://" + subdomain.ReplaceAllString(r.Host, "")
	header.Set("Skynet-Portal-Api", here)
	header.Set("Skynet-Server-Api", here)
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"} {
		header.Del(name)
	}
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Allow-Credentials", "true")
	header.Set("Access-Control-Expose-Headers", strings.Join([]string{
		"Content-Length", "Content-Range", "ETag", "Accept-Ranges", "Skynet-File-Metadata", "Skynet-Skylink", "Skynet-Proof",
		"Skynet-Portal-Api", "Skynet-Server-Api", "Upload-Offset", "Upload-Metadata", "Upload-Length", "Tus-Version",
		"Tus-Resumable", "Tus-Extension", "Tus-Max-Size", "Upload-Concat", "Location",
	}, ", "))
}

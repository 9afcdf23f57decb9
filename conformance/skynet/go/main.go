// Runs the rows of the official Go SDK, and prints one JSON line for each.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	skynet "github.com/SkynetLabs/go-skynet/v2"
)

type sdk struct {
	client skynet.SkynetClient
	folder string
	unique string
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: go-skynet-rows PORTAL FOLDER UNIQUE")
		os.Exit(2)
	}
	client := skynet.New()
	// The constructor prefixes any address with https://.
	client.PortalURL = os.Args[1]
	s := sdk{client: client, folder: os.Args[2], unique: os.Args[3]}
	row("a file comes back", func() error { return s.file("small.txt", s.noise(1000)) })
	row("a file of no bytes comes back", func() error { return s.file("nothing.txt", nil) })
	row("a file of one byte comes back", func() error { return s.file("one.txt", []byte("x")) })
	row("a name with a space and unicode comes back", func() error {
		return s.file("ein Täst 漢字.txt", s.noise(2000))
	})
	row("a file of 100 KiB comes back", func() error { return s.file("larger.bin", s.noise(100*1024)) })
	row("the files of a directory come back", s.directory)
	row("an unknown skylink is an error", s.unknown)
	fmt.Println(`{"done":true}`)
}

// Prints the outcome of a row.
func row(name string, run func() error) {
	line := map[string]any{"row": name, "ok": true}
	if err := run(); err != nil {
		line["ok"] = false
		line["why"] = err.Error()
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

// Bytes unique to this run.
func (s *sdk) noise(length int) []byte {
	var out []byte
	for n := 0; len(out) < length; n++ {
		block := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", s.unique, length, n))
		out = append(out, block[:]...)
	}
	return out[:length]
}

func (s *sdk) file(name string, content []byte) error {
	path := filepath.Join(s.folder, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return err
	}
	skylink, err := s.client.UploadFile(path, skynet.DefaultUploadOptions)
	if err != nil {
		return err
	}
	return s.same(skylink, content)
}

func (s *sdk) directory() error {
	folder := filepath.Join(s.folder, "directory")
	files := map[string][]byte{"index.html": []byte("<h1>" + s.unique), "deep/er/file one.txt": s.noise(500)}
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	skylink, err := s.client.UploadDirectory(folder, skynet.DefaultUploadOptions)
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := s.same(skylink+"/"+name, content); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *sdk) unknown() error {
	skylink := "sia://" + "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	if _, err := s.client.Download(skylink, skynet.DefaultDownloadOptions); err == nil {
		return errors.New("the download succeeded")
	}
	return nil
}

func (s *sdk) same(skylink string, content []byte) error {
	body, err := s.client.Download(skylink, skynet.DefaultDownloadOptions)
	if err != nil {
		return err
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, content) {
		return fmt.Errorf("%d bytes came back that are not the %d sent", len(got), len(content))
	}
	return nil
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

type headers []string

func (h *headers) String() string { return strings.Join(*h, ", ") }

func (h *headers) Set(text string) error {
	if !strings.Contains(text, ":") {
		return fmt.Errorf("%q is not of the form name:value", text)
	}
	*h = append(*h, text)
	return nil
}

// send makes requests and prints each answer. Redirects are not followed; gRPC statuses show as HTTP's, as the suite
// expects of Istio's client.
func send(arguments []string) error {
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	var given headers
	flags.Var(&given, "H", "header, name:value")
	method := flags.String("method", http.MethodGet, "method")
	count := flags.Int("count", 1, "how many requests")
	timeout := flags.Duration("timeout", 5*time.Second, "for one request")
	// The suite puts the address first, where Go's flags would end.
	if len(arguments) == 0 {
		return errors.New("say which address to call")
	}
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	target, err := url.Parse(arguments[0])
	if err != nil {
		return err
	}
	grpc := target.Scheme == "grpc"
	if grpc {
		target.Scheme, target.Path, *method = "http", grpcPath, http.MethodPost
	}
	client := newClient(grpc, *timeout)
	for index := range *count {
		lines, err := ask(client, *method, target.String(), given, grpc)
		if err != nil {
			return err
		}
		if index > 0 {
			fmt.Println()
		}
		fmt.Fprintln(os.Stdout, strings.Join(lines, "\n"))
	}
	return nil
}

func newClient(grpc bool, timeout time.Duration) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!grpc)
	protocols.SetUnencryptedHTTP2(grpc)
	return &http.Client{
		Timeout:       timeout,
		Transport:     &http.Transport{Protocols: protocols},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func ask(client *http.Client, method, target string, given headers, grpc bool) ([]string, error) {
	var body io.Reader
	if grpc {
		var message strings.Builder
		if err := writeMessage(&message, "hello"); err != nil {
			return nil, err
		}
		body = strings.NewReader(message.String())
	}
	request, err := http.NewRequest(method, target, body)
	if err != nil {
		return nil, err
	}
	for _, header := range given {
		name, value, _ := strings.Cut(header, ":")
		if strings.EqualFold(name, "host") {
			request.Host = value
		} else {
			request.Header.Add(name, value)
		}
	}
	if grpc {
		request.Header.Set("Content-Type", grpcType)
		request.Header.Set("Te", "trailers")
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, status, err := answer(response, grpc)
	if err != nil {
		return nil, err
	}
	lines := []string{"Url=" + target, fmt.Sprintf("StatusCode=%d", status)}
	for _, name := range slices.Sorted(maps.Keys(response.Header)) {
		for _, value := range response.Header[name] {
			lines = append(lines, "ResponseHeader="+name+":"+value)
		}
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, "[0 body] "+line)
		}
	}
	return lines, nil
}

func answer(response *http.Response, grpc bool) (string, int, error) {
	if !grpc {
		body, err := io.ReadAll(io.LimitReader(response.Body, maxMessage))
		return string(body), response.StatusCode, err
	}
	text, err := readMessage(response.Body)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", 0, err
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return "", 0, err
	}
	status := response.Trailer.Get("Grpc-Status")
	if status == "" {
		status = response.Header.Get("Grpc-Status") // an answer of trailers only
	}
	if status != "0" {
		return "", 0, fmt.Errorf("gRPC status %q: %s%s", status, response.Trailer.Get("Grpc-Message"),
			response.Header.Get("Grpc-Message"))
	}
	return text, response.StatusCode, nil
}

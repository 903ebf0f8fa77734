package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

type ports []int

func (p *ports) String() string { return fmt.Sprint(*p) }

func (p *ports) Set(text string) error {
	number, err := strconv.Atoi(text)
	*p = append(*p, number)
	return err
}

// serve answers on every port that the arguments name; without any on 8080, as the suite's consumer expects.
func serve(arguments []string) error {
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	var plain, secure, grpc, raw ports
	flags.Var(&plain, "port", "HTTP port")
	flags.Var(&secure, "tls", "which of the HTTP ports speak TLS")
	flags.Var(&grpc, "grpc", "gRPC port")
	flags.Var(&raw, "tcp", "TCP port")
	flags.String("crt", "", "ignored: the certificate is made at start")
	flags.String("key", "", "ignored, as crt")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if len(plain) == 0 {
		plain = ports{8080}
	}
	failed := make(chan error)
	for _, number := range append(plain, grpc...) {
		listener, err := net.Listen("tcp", fmt.Sprintf(":%d", number))
		if err != nil {
			return err
		}
		if slices.Contains(secure, number) {
			settings, err := ownCertificate()
			if err != nil {
				return err
			}
			listener = tls.NewListener(listener, settings)
		}
		go func() { failed <- httpServer(number).Serve(listener) }()
	}
	for _, number := range raw {
		listener, err := net.Listen("tcp", fmt.Sprintf(":%d", number))
		if err != nil {
			return err
		}
		go func() { failed <- serveLines(listener) }()
	}
	log.Printf("serving %v, gRPC on %v, TCP on %v", plain, grpc, raw)
	return <-failed
}

func httpServer(port int) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
			text := strings.Join(describe(request, port), "\n") + "\n"
			if request.Header.Get("Content-Type") != grpcType {
				fmt.Fprint(answer, text)
				return
			}
			answer.Header().Set("Content-Type", grpcType)
			answer.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
			status := "0"
			if _, err := readMessage(request.Body); err != nil {
				status = "3"
				answer.Header().Set("Grpc-Message", err.Error())
			} else if err := writeMessage(answer, text); err != nil {
				return
			}
			answer.Header().Set("Grpc-Status", status)
		}),
	}
}

// describe lists what the suite's parser looks for in the body.
func describe(request *http.Request, port int) []string {
	name, err := os.Hostname()
	if err != nil {
		log.Fatalf("this host has no name: %v", err)
	}
	lines := []string{
		"ServicePort=" + strconv.Itoa(port),
		"Host=" + request.Host,
		"URL=" + request.URL.RequestURI(),
		"Method=" + request.Method,
		"Proto=" + request.Proto,
		"RequestHeader=Host:" + request.Host,
	}
	for _, header := range slices.Sorted(maps.Keys(request.Header)) {
		for _, value := range request.Header[header] { // in the order in which they came
			lines = append(lines, "RequestHeader="+header+":"+value)
		}
	}
	return append(lines, "Hostname="+name)
}

func serveLines(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			for lines := bufio.NewScanner(connection); lines.Scan(); {
				if _, err := fmt.Fprintln(connection, lines.Text()); err != nil {
					return
				}
			}
		}()
	}
}

func ownCertificate() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"echo"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}}, nil
}

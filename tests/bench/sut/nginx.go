package sut

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// nginxConfig is tuned for what is measured, within what a careful operator of
// nginx would do: one worker as Holdfast has one loop, no logs, no buffering,
// no time-out in reach, no limit in reach. Verbs: directory, address, socket,
// and what of TLS follows the address.
const nginxConfig = `
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log error;

events {
	use epoll;
	worker_connections 19000;
	multi_accept on;
	accept_mutex off;
}

http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	tcp_nodelay on;
	server_tokens off;

	upstream back {
		server %[3]s;
	}
	server {
		listen %[2]s backlog=4096%[4]s
		location / {
			proxy_pass http://back;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
			proxy_set_header Host $host;
			proxy_buffering off;
			proxy_request_buffering off;
			proxy_connect_timeout 60s;
			proxy_read_timeout 1d;
			proxy_send_timeout 1d;
		}
	}
}
`

func (s *System) nginx(programs Programs, core int, dir string) error {
	path, err := NginxPath(programs.Nginx)
	if err != nil {
		return err
	}
	back, err := s.behindNginx(programs, core, dir)
	if err != nil {
		return err
	}
	if s.Addr, err = freeAddr(); err != nil {
		return err
	}
	secure := ";"
	if programs.TLS {
		cert, key, err := certificate(dir)
		if err != nil {
			return err
		}
		// Its defaults otherwise, but for the suite, which is to be the same.
		secure = " ssl;\n\t\tssl_certificate " + cert + ";\n\t\tssl_certificate_key " + key + ";\n\t\tssl_protocols TLSv1.3;" +
			"\n\t\tssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;"
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, s.Addr, back, secure), 0o600); err != nil {
		return err
	}
	p, err := s.run("nginx", core, dir, path, "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", config)
	if err != nil {
		return err
	}
	return p.wait(func() bool {
		c, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// behindNginx starts what nginx passes to, and returns where it is.
func (s *System) behindNginx(programs Programs, core int, dir string) (server string, err error) {
	if programs.Bridge != "" {
		return s.central(programs, core, dir)
	}
	socket := filepath.Join(dir, "echo.sock")
	echo, err := s.run("echo", core, dir, programs.Echo, "-mode", "unix", "-listen", socket)
	if err != nil {
		return "", err
	}
	_, err = echo.waitLine("ready", nil)
	return "unix:" + socket, err
}

// NginxPath finds nginx, which Debian puts outside an ordinary user's PATH.
func NginxPath(name string) (string, error) {
	const hint = "apt-get install nginx-light, or say -nginx PATH, or leave nginx out with -systems"
	path, err := program(name, hint)
	if err != nil && !strings.Contains(name, "/") {
		if path, sbin := program("/usr/sbin/"+name, hint); sbin == nil {
			return path, nil
		}
	}
	return path, err
}

// NginxVersion is what nginx -v says.
func NginxVersion(name string) string {
	path, err := NginxPath(name)
	if err != nil {
		return "missing"
	}
	out, err := exec.Command(path, "-v").CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "nginx version: ")
}

// freeAddr returns an address that nothing listens at: nginx cannot say which
// port it got for 0.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), errors.Join(l.Close())
}

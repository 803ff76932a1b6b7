package config

import (
	"strings"
	"time"

	"holdfast/conn"
)

// Options returns every option of the gateway, each of which sets its field of c.
// Help, manual and docs/configuration.md are checked against this table.
func Options(c *Config) []Option {
	return []Option{
		{"listen", "127.0.0.1:8887", "address:port for chargers over ws, or none; may be given several times; ,auth=…, ,allow-from=… and ,proxy-protocol=required after it apply to this address alone", listeners{to: &c.Listen}},
		{"listen-tls", "", "address:port for chargers over wss; may be given several times; ,auth=…, ,client-auth=…, ,allow-from=… and ,proxy-protocol=required apply to this address alone", listeners{to: &c.ListenTLS, tls: true}},
		{"processors", "/run/holdfast/processors.sock", "path of the Unix socket for processors", TextValue{&c.Processors}},
		{"admin-socket", besideProcessors, "path of the Unix socket for operators' commands (mode 0600)", TextValue{&c.Admin}},
		{"admin-group", "", "group whose members may give operators' commands, too (mode 0660)", group{&c.AdminGroup}},
		{"admin", "", "address:port for /metrics, /healthz and /readyz over HTTP; it has no password, so keep it inside", address{&c.Metrics}},
		{"keeper", "", "path of the Unix socket of a keeper (holdfast keep): with one, a crash of the gateway closes no connection; unset: a crash closes all", TextValue{&c.Keeper}},
		{"pid-file", "", "file to write the process id to", TextValue{&c.PIDFile}},
		{"log-format", "text", "text or json", ChoiceValue{&c.LogFormat, []string{"text", "json"}}},
		{"log-level", "info", "debug, info, warn or error", ChoiceValue{&c.LogLevel, []string{"debug", "info", "warn", "error"}}},
		{"log-burst", "2000", "most lines of chargers of one kind in 30 s, such as \"opened\"; of those beyond, the log has the number; 0: no limit", number{&c.LogBurst, 0, 1_000_000}},
		{"loops", "1", "number of event loops; a charger belongs to one of them, by its identity", number{&c.Loops, 1, 64}},

		{"tls-cert", "", "file of a certificate with its chain, PEM; may be given several times, such as for ECDSA and RSA: a charger gets the first that it can use; read again when it changes", files{&c.TLSCerts}},
		{"tls-key", "", "file of the private key of a -tls-cert, PEM; in the same order", files{&c.TLSKeys}},
		{"tls-legacy", "false", "also offer the TLS_RSA suites with AES-GCM that OCPP names; they have no forward secrecy", BooleanValue{&c.TLSLegacy}},
		{"tls-record-size", "16KiB", "most data in a TLS record to a charger: 4KiB or less for those with small buffers", size{&c.TLSRecordSize, 512, 16 << 10}},
		{"tls-client-ca", "", "file of the certificate authorities that sign chargers' certificates, PEM; read again when it changes", TextValue{&c.TLSClientCA}},
		{"tls-client-auth", "none", "whether a charger must have a certificate: none, optional or required", ChoiceValue{&c.TLSClientAuth, ClientAuths}},
		{"tls-client-identity", "cn", "which name in a charger's certificate is its identity: cn (common name), san (a subject alternative name) or any (either of them); processor: whoever answers AUTHORIZE compares", ChoiceValue{&c.TLSClientIdentity, []string{"cn", "san", "any", IdentityByProcessor}}},
		{"auth", "none", "what decides whether a charger may connect: none (no password is asked for), file (-auth-file) or processor", ChoiceValue{&c.Auth, auths}},
		{"auth-file", "", "file of identities and hashed passwords, written by holdfast passwd; read again when it changes", TextValue{&c.AuthFile}},
		{"auth-hex", "false", "take a password and its hexadecimal form for the same", BooleanValue{&c.AuthHex}},

		{"security-profiles", "", "file in which the gateway remembers the highest OCPP security profile that each charger has used; with a lower one it gets 403; unset: none is remembered", TextValue{&c.SecurityProfiles}},
		{"blocks", "", "file of the chargers and addresses that may not connect, written by holdfast block and unblock; unset: these commands are refused", TextValue{&c.Blocks}},
		{"unknown-charger", "401", "what a charger gets that the auth-file does not name: 401, as for a wrong password, or 404, which tells strangers which identities there are", ChoiceValue{&c.Unknown, []string{"401", "404"}}},

		{"path", "/ocpp/", "prefix of the path that chargers connect to; the identity follows it; may be given several times", paths{&c.Paths}},
		{"subprotocols", "ocpp2.1,ocpp2.0.1,ocpp1.6", "subprotocols that chargers may choose from", list{&c.Subprotocols}},
		{"default-subprotocol", "", "subprotocol of chargers that offer none; unset, they are refused", TextValue{&c.DefaultSubprotocol}},
		{"lenient", "none", "what chargers do wrong and are forgiven: all, none, or some of " + strings.Join(conn.ToleranceNames(), ","), lenient{&c.Lenient}},
		{"compression", "true", "agree to permessage-deflate with chargers that offer it", BooleanValue{&c.Compression}},
		{"handshake-timeout", "10s", "time limit for a charger's handshake", duration{&c.HandshakeTimeout, 100 * time.Millisecond, time.Hour}},
		{"max-request", "8KiB", "longest head of a charger's request, with its headers; beyond it 431", size{&c.MaxRequest, 1 << 10, conn.MaxRequest}},
		{"max-handshakes", "1024", "most handshakes at the same time; more wait in the listen backlog", number{&c.Handshakes, 1, 100_000}},
		{"max-handshakes-per-address", "256", "most handshakes from one address, or one IPv6 /64, at the same time; beyond it 429, or the end of the connection with TLS; 0: no limit", number{&c.HandshakesPerAddr, 0, 100_000}},
		{"max-connections-per-address", "0", "most chargers connected from one address, or one IPv6 /64; beyond it 429 with Retry-After; 0: no limit", number{&c.ConnectionsPerAddr, 0, 10_000_000}},
		{"allow-from", "", "addresses, or networks such as 10.0.0.0/8, that chargers may connect from, with commas between them; unset: from anywhere", networks{&c.AllowFrom}},
		{"trusted", "", "addresses, or networks such as 10.0.0.0/8, of balancers and proxies, with commas between them: they are believed whom they connect for, and no limit for one address applies to them", networks{&c.Trusted}},
		{"trusted-header", "x-forwarded-for", "header in which trusted addresses name the charger's own: x-forwarded-for, forwarded or none", ChoiceValue{&c.TrustedHeader, []string{"x-forwarded-for", "forwarded", "none"}}},
		{"max-handshakes-per-second", "0", "most handshakes per second; beyond it chargers get 429 with Retry-After; 0: no limit", number{&c.HandshakesPerSec, 0, 1_000_000}},
		{"max-offline", "100000", "most chargers that are not connected and have left something; beyond it unknown chargers get 503 with Retry-After", number{&c.MaxOffline, 1, 10_000_000}},
		{"max-connections", "100000", "most chargers connected; beyond it chargers get 503 with Retry-After", number{&c.MaxConnections, 1, 10_000_000}},

		{"max-message", "1MiB", "longest message of a charger, or for one", size{&c.MaxMessage, 1 << 10, 64 << 20}},
		{"write-buffer", "256KiB", "most unwritten bytes for one charger; beyond it senders get the status full", size{&c.WriteBuffer, 1 << 10, 1 << 30}},
		{"ping-interval", "60s", "time between WebSocket pings to a charger, with jitter; 0: no pings", duration{&c.PingInterval, 0, 24 * time.Hour}},
		{"idle-timeout", "3 ping intervals", "close a connection from which nothing came for so long; 0: never", autoDuration{&c.IdleTimeout}},
		{"write-timeout", "30s", "close a connection that accepted no bytes for so long", duration{&c.WriteTimeout, 100 * time.Millisecond, time.Hour}},
		{"close-timeout", "5s", "time limit for a charger to answer a Close frame", duration{&c.CloseTimeout, 100 * time.Millisecond, time.Hour}},
		{"shutdown-grace", "10s", "how long a shutdown (SIGTERM, SIGINT) may take: chargers are closed, spread over the first half; the rest is for their answers", duration{&c.ShutdownGrace, 0, time.Hour}},
		{"shutdown-close", "1012", "how a shutdown closes chargers: with the code 1012 (service restart) or 1001 (going away), or drop: without a Close frame, for chargers that connect again only after TCP has ended", ChoiceValue{&c.ShutdownClose, []string{"1012", "1001", ShutdownDrop}}},
		{"upgrade-timeout", "30s", "time limit for each step of an upgrade before the freeze, such as the start of the new process", duration{&c.UpgradeTimeout, 100 * time.Millisecond, time.Hour}},
		{"freeze-timeout", "3s", "time limit from the freeze until the new process is ready; beyond it the upgrade is rolled back", duration{&c.FreezeTimeout, 10 * time.Millisecond, time.Minute}},

		{"queue-messages", "256", "most unacknowledged messages of one charger; at the limit the gateway stops reading from it", number{&c.QueueMessages, 4, 1_000_000}},
		{"queue-bytes", "4MiB", "most unacknowledged bytes of one charger; at the limit the gateway stops reading from it", size{&c.QueueBytes, 4 << 10, 1 << 30}},
		{"buffer-bytes", "256MiB", "most unacknowledged bytes of all chargers, and as many again for messages half received", size{&c.BufferBytes, 64 << 10, 1 << 40}},
		{"window", "256", "most unacknowledged deliveries on a link whose processor does not ask for another number", number{&c.Window, 1, MaxWindow}},
		{"ack-timeout", "60s", "time limit for a processor to acknowledge a delivery; beyond it the processor is taken to hang, and its link is closed", duration{&c.AckTimeout, 100 * time.Millisecond, 24 * time.Hour}},
		{"max-attempts", "5", "give up a message that was first in line when so many processors died", number{&c.MaxAttempts, 1, 100}},
		{"max-links", "256", "most links of processors at the same time", number{&c.MaxLinks, 1, 10_000}},

		{"call-timeout", "30s", "time limit of a CALL that names none", duration{&c.CallTimeout, 10 * time.Millisecond, 24 * time.Hour}},
		{"max-call-timeout", "10m", "longest time limit of a CALL; longer ones are lowered to it", duration{&c.MaxCallTimeout, 10 * time.Millisecond, 24 * time.Hour}},
		{"call-queue", "16", "most CALLs to one charger at the same time: the one that it works on, and those that wait", number{&c.CallQueue, 1, 10_000}},
	}
}

// IdentityByProcessor is the -tls-client-identity with which the gateway verifies a
// charger's certificate, and a processor whether it is that charger's.
const IdentityByProcessor = "processor"

// ShutdownDrop is the -shutdown-close without a Close frame.
const ShutdownDrop = "drop"

// besideProcessors is the default of -admin-socket.
const besideProcessors = "admin.sock beside processors"

// MaxWindow is the most deliveries that may be in flight on a link.
const MaxWindow = 65536

package config

import "time"

// Options returns every option of the gateway, each of which sets its field of c.
// Help, manual and docs/configuration.md are checked against this table.
func Options(c *Config) []Option {
	return []Option{
		{"listen", "127.0.0.1:8887", "address:port for chargers over ws, or none; may be given several times; ,auth=… behind it is for this one alone", listeners{to: &c.Listen}},
		{"listen-tls", "", "the same over wss; also ,client-auth=…", listeners{to: &c.ListenTLS, tls: true}},
		{"processors", "/run/holdfast/processors.sock", "path of the Unix socket for processors", TextValue{&c.Processors}},
		{"admin-socket", besideProcessors, "path of the Unix socket for operators' commands (mode 0600)", TextValue{&c.Admin}},
		{"admin-group", "", "group that may give operators' commands, too (mode 0660)", group{&c.AdminGroup}},
		{"admin", "", "address:port for /metrics, /healthz and /readyz over HTTP; there is no password, so keep it inside", address{&c.Metrics}},
		{"pid-file", "", "file to write the process id to", TextValue{&c.PIDFile}},
		{"log-format", "text", "text or json", ChoiceValue{&c.LogFormat, []string{"text", "json"}}},
		{"log-level", "info", "debug, info, warn or error", ChoiceValue{&c.LogLevel, []string{"debug", "info", "warn", "error"}}},
		{"loops", "1", "event loops; a charger belongs to one of them, by its identity", number{&c.Loops, 1, 64}},

		{"tls-cert", "", "file of a certificate with its chain, PEM; several, such as ECDSA and RSA, are picked from by what the charger can; read again when it changes", files{&c.TLSCerts}},
		{"tls-key", "", "file of the private key of the -tls-cert in the same place, PEM", files{&c.TLSKeys}},
		{"tls-legacy", "false", "offer TLS_RSA suites with AES-GCM, too, which OCPP names: they have no forward secrecy", BooleanValue{&c.TLSLegacy}},
		{"tls-client-ca", "", "file of the authorities that sign chargers' certificates, PEM; read again when it changes", TextValue{&c.TLSClientCA}},
		{"tls-client-auth", "none", "certificates of chargers: none, optional or required", ChoiceValue{&c.TLSClientAuth, ClientAuths}},
		{"tls-client-identity", "cn", "where a charger's certificate has its identity: cn (common name), san (an alternative name) or any of both", ChoiceValue{&c.TLSClientIdentity, []string{"cn", "san", "any"}}},
		{"auth", "none", "who says whether a charger's password is right: none, file or processor", ChoiceValue{&c.Auth, auths}},
		{"auth-file", "", "file of identities and hashed passwords, made by holdfast passwd; read again when it changes", TextValue{&c.AuthFile}},
		{"auth-hex", "false", "a password and its spelling in hexadecimal are the same", BooleanValue{&c.AuthHex}},

		{"path", "/ocpp/", "prefix of the path that chargers connect to, followed by the identity; may be given several times", paths{&c.Paths}},
		{"subprotocols", "ocpp2.1,ocpp2.0.1,ocpp1.6", "subprotocols that chargers may choose from", list{&c.Subprotocols}},
		{"default-subprotocol", "", "subprotocol of chargers that offer none; without it they are refused", TextValue{&c.DefaultSubprotocol}},
		{"lenient", "false", "tolerate a handshake without Connection: Upgrade", BooleanValue{&c.Lenient}},
		{"compression", "true", "permessage-deflate for chargers that offer it", BooleanValue{&c.Compression}},
		{"handshake-timeout", "10s", "for a charger to complete its handshake", duration{&c.HandshakeTimeout, 100 * time.Millisecond, time.Hour}},
		{"max-handshakes", "1024", "handshakes at the same time; more wait in the backlog", number{&c.Handshakes, 1, 100_000}},
		{"max-handshakes-per-second", "0", "beyond it chargers get 429 with Retry-After; 0: no limit", number{&c.HandshakesPerSec, 0, 1_000_000}},
		{"max-connections", "100000", "beyond it chargers get 503 with Retry-After", number{&c.MaxConnections, 1, 10_000_000}},

		{"max-message", "1MiB", "longest message of a charger or a processor", size{&c.MaxMessage, 1 << 10, 64 << 20}},
		{"write-buffer", "256KiB", "unwritten bytes for a charger that does not read; beyond it senders are told", size{&c.WriteBuffer, 1 << 10, 1 << 30}},
		{"ping-interval", "60s", "between WebSocket pings to a charger, jittered; 0: none", duration{&c.PingInterval, 0, 24 * time.Hour}},
		{"idle-timeout", "3 ping intervals", "close a connection that was silent for so long; 0: never", autoDuration{&c.IdleTimeout}},
		{"write-timeout", "30s", "close a connection that took no bytes for so long", duration{&c.WriteTimeout, 100 * time.Millisecond, time.Hour}},
		{"close-timeout", "5s", "for a charger to answer a close frame", duration{&c.CloseTimeout, 100 * time.Millisecond, time.Hour}},
		{"shutdown-grace", "10s", "on SIGTERM and SIGINT chargers are closed with 1012, spread over half of it, and the rest is for their answers", duration{&c.ShutdownGrace, 0, time.Hour}},
		{"upgrade-timeout", "30s", "for each step of an upgrade before the freeze, such as the start of the new process", duration{&c.UpgradeTimeout, 100 * time.Millisecond, time.Hour}},
		{"freeze-timeout", "3s", "from the freeze until the new process is ready; beyond it the upgrade is rolled back", duration{&c.FreezeTimeout, 10 * time.Millisecond, time.Minute}},

		{"queue-messages", "256", "unacknowledged messages of one charger; beyond it the gateway stops reading from it", number{&c.QueueMessages, 4, 1_000_000}},
		{"queue-bytes", "4MiB", "the same in bytes", size{&c.QueueBytes, 4 << 10, 1 << 30}},
		{"buffer-bytes", "256MiB", "unacknowledged bytes of all chargers, and as much again for messages half received", size{&c.BufferBytes, 64 << 10, 1 << 40}},
		{"window", "256", "unacknowledged deliveries on a processor's link that does not ask for another number", number{&c.Window, 1, MaxWindow}},
		{"ack-timeout", "60s", "a processor with a delivery unacknowledged for so long is hung; its link is closed", duration{&c.AckTimeout, 100 * time.Millisecond, 24 * time.Hour}},
		{"max-attempts", "5", "a message that was first in line when so many processors died is poison", number{&c.MaxAttempts, 1, 100}},
		{"max-links", "256", "links of processors at the same time", number{&c.MaxLinks, 1, 10_000}},

		{"call-timeout", "30s", "for a charger to answer a CALL that names no time limit", duration{&c.CallTimeout, 10 * time.Millisecond, 24 * time.Hour}},
		{"max-call-timeout", "10m", "the longest time limit of a CALL; longer ones are lowered to it", duration{&c.MaxCallTimeout, 10 * time.Millisecond, 24 * time.Hour}},
		{"call-queue", "16", "CALLs to one charger at the same time: one that it is busy with, and those that wait", number{&c.CallQueue, 1, 10_000}},
	}
}

// besideProcessors is the default of -admin-socket.
const besideProcessors = "admin.sock beside processors"

// MaxWindow is the most deliveries that may be in flight on a link.
const MaxWindow = 65536

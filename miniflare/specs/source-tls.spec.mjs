/**
 * TLS to a real PostgreSQL, as a managed one has it: which certificates are trusted, and how the others are reported.
 */
import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Certificates } from "../certificates.mjs";
import { giveToServer } from "../postgres.mjs";

const certificates = new Certificates();
// Stands for the public authorities. Miniflare reads it once, when it is loaded, so it must be set before.
process.env.NODE_EXTRA_CA_CERTS = certificates.authority("public");
certificates.authority("private");
const { Database, reader, status } = await import("../source.mjs");

const PROBLEMS = /"(database_lost|query_failed)"/;
let database;

before(async () => {
	database = await Database.start();
	for (const [name, host, authority] of [
		["good", "localhost", "public"],
		["unknown", "localhost", "private"],
		["another", "db.example.com", "public"],
	]) {
		const files = certificates.certificate(name, host, authority);
		for (const [from, end] of [[files.certificate, "crt"], [files.key, "key"]]) {
			const file = path.join(database.postgres.folder, `${name}.${end}`);
			copyFileSync(from, file);
			giveToServer(file);
		}
	}
});

after(async () => {
	await database.dispose();
	certificates.dispose();
});

/** The server presents this certificate from now on; without one it has no TLS. */
async function show(name) {
	const file = (end) => path.join(database.postgres.folder, `${name}.${end}`);
	const files = name ? { ssl_cert_file: file("crt"), ssl_key_file: file("key") } : {};
	await database.postgres.configure({ ...files, ssl: name ? "on" : "off" });
}

/** Runs with a deployment whose URL has these parameters. */
async function withServer(url, body) {
	const log = [];
	const parameters = { host: "localhost", ...url };
	const server = await database.serve({}, { vars: { DATABASE_URL: database.url(parameters) }, onLog: ({ message }) => log.push(message) });
	try {
		await body(server, log);
	} finally {
		await server.dispose();
	}
}

for (const mode of ["require", "verify-full"]) {
	test(`sslmode=${mode}: the connection is encrypted, the password is proven by SCRAM, and changes come`, async () => {
		await show("good");
		await withServer({ parameters: `sslmode=${mode}` }, async (server) => {
			const ada = await reader(server, "ada");
			const text = `select string_agg(distinct s.ssl || ' ' || s.version, ',') from pg_stat_ssl s join pg_stat_activity a using (pid)
				where a.usename = 'realtime_worker_reader'`;
			assert.match(await database.postgres.sql(text, { user: "postgres", database: "postgres" }), /^true TLSv1\.[23]$/);
			const verifier = "select left(rolpassword, 13) from pg_authid where rolname = 'realtime_worker_reader'";
			assert.equal(await database.postgres.sql(verifier, { user: "postgres", database: "postgres" }), "SCRAM-SHA-256");
			await database.sql("insert into messages (owner, body) values ('ada', 'encrypted')");
			assert.equal((await ada.next()).new.body, "encrypted");
			assert.equal((await status(server)).connection, "listening");
		});
	});
}

for (const [what, certificate, url, problem] of [
	["a wrong password", "good", { parameters: "sslmode=require", password: "another" }, "wrong_password"],
	["a private authority", "unknown", { parameters: "sslmode=require" }, "tls_failed"],
	["a certificate for another host", "another", { parameters: "sslmode=require" }, "tls_failed"],
	["a server without TLS", undefined, { parameters: "sslmode=require" }, "tls_refused"],
	["channel binding that is demanded", "good", { parameters: "sslmode=require&channel_binding=require" }, "channel_binding_unsupported"],
]) {
	test(`${what} is ${problem}`, async () => {
		await show(certificate);
		await withServer(url, async (server, log) => {
			const told = await status(server);
			assert.deepEqual([told.problem, told.database], [problem, null], log.join("\n"));
			assert.ok(log.some((line) => PROBLEMS.test(line) && line.includes(`"${problem}"`)), log.join("\n"));
			const text = `${JSON.stringify(told)}\n${log.join("\n")}`;
			for (const secret of ["postgres://", "local-only", "password:"]) assert.ok(!text.includes(secret), text);
		});
	});
}

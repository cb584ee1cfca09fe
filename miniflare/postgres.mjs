/**
 * A private PostgreSQL server, with the SQL of the source installed, for `cargo xtask dev --postgres`, the specs and
 * the benchmark.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const SQL = fileURLToPath(new URL("../sql/", import.meta.url));
/** Folders of Debian's packages, PGDG's for RPM systems, and Homebrew's; `POSTGRES_BIN` is tried first. */
const FOLDERS = ["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"];
const MIN_VERSION = 15;
const OWNER = "app_owner";
const READER = "realtime_worker_reader";
const PASSWORD = "local-only";

/** Runs a program, and ends it as soon as its input is closed, which happens even if this process is killed. */
const WATCHDOG = `exec 3<&0; "$@" 3<&- & server=$!
	(cat <&3 >/dev/null; kill -INT $server) 2>/dev/null & wait $server`;

/** The roles of the clients, and of the reader, which may switch to them. */
const ROLES = `
	create role ${OWNER} login password '${PASSWORD}';
	create role anon nologin; create role authenticated nologin;
	create role ${READER} login password '${PASSWORD}';
	alter role ${READER} set statement_timeout = '4s';
	grant anon, authenticated to ${READER};`;

/** A table whose policy shows rows only to their owner. */
export const SAMPLE = `
	create table messages (id bigint generated always as identity primary key, owner text not null, body text not null);
	grant select on messages to authenticated;
	alter table messages enable row level security;
	create policy own on messages for select to authenticated
		using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
	select realtime_worker.enable_realtime('public', 'messages');`;

/** A server that runs in a folder until it is stopped. */
export class Postgres {
	/** The folder of its data, its socket and its log. */
	folder;
	port;
	#server;
	#isOurs;

	/**
	 * Starts a server, after making its data where there is none.
	 *
	 * @param {{folder?: string, port?: number}} [options] without a folder, a temporary one that goes with the server
	 */
	static async start({ folder, port } = {}) {
		const postgres = new Postgres();
		postgres.#isOurs = folder === undefined;
		postgres.folder = folder ?? mkdtempSync(path.join(tmpdir(), "realtime-postgres-"));
		postgres.port = port ?? (await freePort());
		mkdirSync(postgres.folder, { recursive: true });
		giveToServer(postgres.folder);
		const isNew = !existsSync(path.join(postgres.folder, "data", "PG_VERSION"));
		if (isNew) postgres.#create();
		await postgres.run();
		if (isNew) await postgres.sql(ROLES, { user: "postgres", database: "postgres" });
		return postgres;
	}

	#create() {
		const authentication = ["--auth-local=trust", "--auth-host=scram-sha-256"];
		const data = path.join(this.folder, "data");
		const initdb = ["--no-sync", "--username=postgres", "--encoding=UTF8", "--locale=C", ...authentication, "-D", data];
		execFileSync(path.join(binaries(), "initdb"), initdb, { ...account(), cwd: this.folder, stdio: "pipe" });
		// Little WAL: the tests must not fill a disk.
		const settings = "listen_addresses = '127.0.0.1'\nfsync = off\nmax_connections = 40\nmax_wal_size = '64MB'\nmin_wal_size = '32MB'\n";
		appendFileSync(path.join(data, "postgresql.conf"), settings);
	}

	/** Starts the existing, stopped server, and waits until it accepts connections. */
	async run() {
		const settings = ["-D", path.join(this.folder, "data"), "-p", this.port, "-k", this.folder].map(String);
		const program = path.join(binaries(), "postgres");
		// In a separate process group, which Ctrl-C in a terminal does not reach.
		const options = { ...account(), cwd: this.folder, detached: true, stdio: ["pipe", "ignore", "pipe"] };
		this.#server = spawn("sh", ["-c", WATCHDOG, "sh", program, ...settings], options);
		let log = "";
		const isReady = new Promise((resolve, reject) => {
			this.#server.stderr.setEncoding("utf8").on("data", (text) => {
				if (log.length < 100_000) log += text;
				if (log.includes("ready to accept connections")) resolve();
			});
			this.#server.once("error", reject);
			this.#server.once("exit", (code) => reject(new Error(`PostgreSQL ended with ${code}:\n${log}`)));
		});
		await isReady;
	}

	/** Ends the server: with SIGQUIT it drops everything, as a crash does. */
	async stop(signal = "SIGINT") {
		if (this.#server.exitCode !== null || this.#server.signalCode !== null) return;
		const ended = once(this.#server, "exit");
		const [pid] = readFileSync(path.join(this.folder, "data", "postmaster.pid"), "utf8").split("\n");
		process.kill(Number(pid), signal);
		await ended;
		this.#server.stdin.end();
	}

	/** Ends the server, and removes its folder unless it was given. */
	async dispose() {
		await this.stop();
		if (this.#isOurs) rmSync(this.folder, { recursive: true, force: true });
	}

	/**
	 * A database of its own, with the SQL of the source, which is brought up to date where the database is there already.
	 *
	 * @param {string} name
	 */
	async database(name) {
		const known = await this.sql(`select count(*) from pg_database where datname = '${name}'`, { user: "postgres", database: "postgres" });
		if (known === "0") await this.sql(`create database ${name} owner ${OWNER}`, { user: "postgres", database: "postgres" });
		await this.#install(name);
		return name;
	}

	async #install(database) {
		const table = await this.sql("select to_regclass('realtime_worker.version') is not null", { database });
		const version = table === "t" ? Number(await this.sql("select max(number) from realtime_worker.version", { database })) : 0;
		const files = readdirSync(SQL).filter((file) => /^\d{3}_.*\.sql$/.test(file) && Number.parseInt(file, 10) > version);
		const text = files.sort().map((file) => readFileSync(path.join(SQL, file), "utf8"));
		await this.sql([...text, "select realtime_worker.grant_reader(), realtime_worker.grant_supabase();"].join("\n"), { database });
	}

	/** The address at which the Worker, or any other client, connects. */
	url(database, { user = READER, password = PASSWORD, host = "127.0.0.1", port = this.port, parameters = "sslmode=disable" } = {}) {
		return `postgres://${user}:${password}@${host}:${port}/${database}?${parameters}`;
	}

	/** Changes settings of the running server, and waits until new connections have them. */
	async configure(settings) {
		const admin = { user: "postgres", database: "postgres" };
		for (const [name, value] of Object.entries(settings)) await this.sql(`alter system set ${name} = '${value}'`, admin);
		await this.sql("select pg_reload_conf()", admin);
		for (const [name, value] of Object.entries(settings)) {
			while ((await this.sql(`show ${name}`, admin)) !== value);
		}
	}

	/**
	 * Runs SQL, several statements in one transaction, as the owner of the databases unless another is named, and
	 * returns the output.
	 */
	async sql(text, { user = OWNER, database }) {
		const options = ["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", this.folder, "-p", this.port, "-U", user, "-d", database];
		const running = promisify(execFile)(path.join(binaries(), "psql"), options.map(String), { maxBuffer: Number.POSITIVE_INFINITY, env: { ...process.env, PGOPTIONS: "-c client_min_messages=warning" } });
		running.child.stdin.end(/;\s*\S/.test(text) ? `begin;\n${text};\ncommit;` : text);
		return (await running).stdout.trim();
	}

	/** A session that stays open, whose statements each return their output. Errors are printed unless it is quiet. */
	session(database, { isQuiet = false } = {}) {
		const options = ["-XqAt", "-h", this.folder, "-p", String(this.port), "-U", OWNER, "-d", database];
		return new Session(spawn(path.join(binaries(), "psql"), options, { stdio: ["pipe", "pipe", isQuiet ? "ignore" : "inherit"] }));
	}
}

class Session {
	#psql;
	#printed = "";
	#waiting;
	#count = 0;

	constructor(psql) {
		this.#psql = psql;
		psql.stdout.setEncoding("utf8").on("data", (text) => {
			this.#printed += text;
			const end = `end ${this.#count}\n`;
			if (!this.#printed.endsWith(end)) return;
			this.#waiting?.resolve(this.#printed.slice(0, -end.length).trim());
		});
		// It ends by itself when the server does.
		psql.once("exit", () => this.#waiting?.reject(new Error("the session has ended")));
		psql.stdin.on("error", () => {});
	}

	/** Runs one statement on one line. */
	run(statement) {
		this.#printed = "";
		this.#count += 1;
		const answered = new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
		if (this.#psql.exitCode !== null) this.#waiting.reject(new Error("the session has ended"));
		this.#psql.stdin.write(`${statement};\n\\echo end ${this.#count}\n`);
		return answered;
	}

	async close() {
		if (this.#psql.exitCode !== null) return;
		const ended = once(this.#psql, "exit");
		this.#psql.stdin.end();
		await ended;
	}
}

/** The programs of the newest local PostgreSQL. */
function binaries() {
	const found = process.env.POSTGRES_BIN ?? FOLDERS.flatMap(matches).sort((one, other) => other.version - one.version)[0]?.folder;
	if (found === undefined || !existsSync(path.join(found, "initdb"))) {
		throw new Error(`PostgreSQL ${MIN_VERSION} or newer is not installed here (POSTGRES_BIN names the folder of its programs)`);
	}
	return found;
}

function matches(pattern) {
	const [before, after] = pattern.split("*");
	const [parent, start] = [path.dirname(`${before}x`), path.basename(`${before}x`).slice(0, -1)];
	const names = existsSync(parent) ? readdirSync(parent).filter((name) => name.startsWith(start)) : [];
	return names
		.map((name) => ({ folder: `${parent}/${name}${after}`, version: Number.parseInt(name.slice(start.length), 10) }))
		.filter(({ version }) => version >= MIN_VERSION);
}

/** Gives a file to the account of the server, which must own the key of its certificate. */
export function giveToServer(file) {
	const owner = account();
	if (owner) chownSync(file, owner.uid, owner.gid);
}

/** PostgreSQL refuses to run as root, so it runs as this account. */
function account() {
	if (process.getuid?.() !== 0) return undefined;
	const accounts = readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"));
	const found = ["postgres", "nobody"].map((name) => accounts.find(([known]) => known === name)).find(Boolean);
	if (!found) throw new Error("PostgreSQL does not run as root, and there is no account `postgres` or `nobody`");
	return { uid: Number(found[2]), gid: Number(found[3]) };
}

async function freePort() {
	const probe = createServer().listen(0, "127.0.0.1");
	await once(probe, "listening");
	const { port } = probe.address();
	probe.close();
	await once(probe, "close");
	return port;
}

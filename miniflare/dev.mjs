/**
 * `cargo xtask dev`: serves the Worker locally, with its own secrets and everything for a first try.
 */
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { getDefaultDevRegistryPath } from "miniflare";
import { HOURS, ORGANIZATION, mintToken, readSecrets } from "./dev_secrets.mjs";
import { startDatabase } from "./dev_database.mjs";
import { butterbaseKey, dialectVars } from "./dev_dialects.mjs";
import { startServer } from "./server.mjs";

const STATE = fileURLToPath(new URL("../.dev", import.meta.url));

function welcome(url, secrets) {
	const admin = mintToken({ user: "ada", roles: ["admin"] }, secrets.JWT_SECRET);
	const member = mintToken({ user: "mel", roles: ["member"] }, secrets.JWT_SECRET);
	const offered = new URLSearchParams({ admin, member, butterbase: butterbaseKey(secrets), service: secrets.ACCESS_TOKEN, secret: secrets.JWT_SECRET });
	return `
  Serving ${url}

  1. Open the Inspector in a browser. It shows side by side what an admin and a member of ${ORGANIZATION} receive. The
     tokens in its address stay in the tab:

${url}/#${offered}

  2. Press Publish there, or paste this into another terminal. The admin receives the full row, the member a masked one:

curl ${url}/broadcast \\
  -H 'Authorization: Bearer ${secrets.ACCESS_TOKEN}' \\
  -H 'Content-Type: application/json' \\
  -d '{
    "organizationId": "${ORGANIZATION}",
    "type": "postgres_changes",
    "table": "employees",
    "eventType": "INSERT",
    "new": { "id": "e1", "name": "Grace", "ssn": "123-45-6789", "email": "grace@example.com", "salary": 91000 },
    "maskingConfig": {
      "ssn": { "type": "ssn", "show": { "roles": ["admin"] } },
      "email": { "type": "email", "show": { "roles": ["admin"] } },
      "salary": { "type": "redact", "show": { "roles": ["admin"] } }
    }
  }'

  Your own client connects to
  ${url.replace("http", "ws")}/realtime/v1/websocket?organizationId=${ORGANIZATION}
  and sends {"type":"auth","token":"..."} with one of these tokens, which are valid for ${HOURS} hours:

  admin   ${admin}
  member  ${member}

  To mint a token for any other user, with any roles:

cargo xtask token --user u7 --roles hr,member

  An API worker under \`wrangler dev\` publishes through a service binding to \`realtime-worker\`, with this ACCESS_TOKEN in its .dev.vars.

  Press Ctrl-C to stop. The secrets are in .dev.vars, the state is in .dev (--fresh deletes it).
`;
}

function readArguments() {
	const { values } = parseArgs({
		options: {
			port: { type: "string", default: "8787" },
			fresh: { type: "boolean", default: false },
			postgres: { type: "boolean", default: false },
		},
	});
	const port = Number(values.port);
	if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Error(`--port ${values.port} is not a port`);
	return { ...values, port, url: process.env.DEV_DATABASE_URL };
}

/** Checks the port first, because workerd reports a port in use with a stack trace. */
async function checkFree(port) {
	const probe = createServer().listen(port, "127.0.0.1");
	await once(probe, "listening").catch((error) => {
		throw new Error(`port ${port}: ${error.code === "EADDRINUSE" ? "in use, choose another with --port" : error.message}`);
	});
	probe.close();
	await once(probe, "close");
}

async function main() {
	const { port, fresh, postgres, url } = readArguments();
	await checkFree(port);
	if (fresh) rmSync(STATE, { recursive: true, force: true });
	const secrets = readSecrets();
	const database = postgres || url ? await startDatabase({ folder: `${STATE}/postgres`, url }) : undefined;
	const vars = { ...secrets, INSPECTOR: "on", ...database?.vars };
	const server = await startServer({ vars, defaults: dialectVars(secrets), port, persist: STATE, registry: getDefaultDevRegistryPath() });
	// Miniflare ends workerd, and this process, on Ctrl-C.
	console.log(welcome(server.url, secrets));
	if (database) console.log(await database.welcome(server.url, secrets));
}

main().catch((error) => {
	console.error(`error: ${error.message}`);
	process.exit(1);
});

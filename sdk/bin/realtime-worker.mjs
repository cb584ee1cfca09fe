#!/usr/bin/env node
/**
 * `npx realtime-worker`: the realtime Worker for teams without Rust.
 */
import { config, deploy, dev } from "./deployment.mjs";
import { schema } from "./schema.mjs";
import { token } from "./token.mjs";

const USAGE = `npx realtime-worker <command>

  dev      serves the Worker on this machine (arguments of \`wrangler dev\`)
  deploy   deploys it (arguments of \`wrangler deploy\`)
  config   writes .realtime/, for a wrangler that runs it beside another Worker
  token    prints a session token for development
             --user u7  --roles hr,member  --organization org_dev  --hours 12
  schema   prints the migration that publishes what is written to D1
             --migrations <folder>  writes it there, as the next one, where it is a new one
             --check <folder>       fails where it is a new one

  --config <file>   realtime.config.ts, unless given: its default export has \`tables\`, and for \`schema\` the
                    database's \`schema\`. \`channels\`, \`limits\`, \`name\` and \`vars\` are the Worker's.
`;

const commands = { dev, deploy, config, token, schema };
const [name, ...given] = process.argv.slice(2);

if (name === undefined || name === "help" || name === "--help") {
	console.log(USAGE);
} else if (!Object.hasOwn(commands, name)) {
	console.error(`error: no command ${name}\n\n${USAGE}`);
	process.exitCode = 2;
} else {
	try {
		process.exitCode = await commands[name](given);
	} catch (error) {
		console.error(`error: ${error.message}`);
		process.exitCode = 1;
	}
}

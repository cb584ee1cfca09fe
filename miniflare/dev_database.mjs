/**
 * The database of `cargo xtask dev`: a local PostgreSQL with a sample table, or the one of a URL.
 */
import { HOURS, ORGANIZATION, mintToken } from "./dev_secrets.mjs";
import { Postgres, SAMPLE } from "./postgres.mjs";

const NAME = "app";
const MAIN = { connection: "DATABASE_URL", organization: ORGANIZATION, roles: ["authenticated", "anon"], bypass: ["service_role"] };
/** The owners of the sample's rows. */
const USERS = ["ada", "mel"];

/**
 * Starts PostgreSQL, unless there is a URL of one.
 *
 * @param {{folder: string, url?: string}} options `folder`: what keeps its data
 * @returns {Promise<{vars: object, welcome: (url: string, secrets: object) => Promise<string>}>}
 */
export async function startDatabase({ folder, url }) {
	const vars = (address) => ({ DATABASE_URL: address, REALTIME: { databases: { main: MAIN } } });
	if (url) return { vars: vars(url), welcome: (server, secrets) => report(server, secrets) };
	const postgres = await Postgres.start({ folder });
	await postgres.database(NAME);
	const isThere = await postgres.sql("select to_regclass('public.messages') is not null", { database: NAME });
	if (isThere === "f") await postgres.sql(SAMPLE, { database: NAME });
	return { vars: vars(postgres.url(NAME)), welcome: async (server, secrets) => sample(postgres, server, secrets) };
}

/** The state of a URL's database, and what to do about it. */
async function report(server, secrets) {
	const headers = { authorization: `Bearer ${secrets.ACCESS_TOKEN}` };
	const { problem, database } = await (await fetch(`${server}/realtime/v1/source/status`, { headers })).json();
	const tables = database?.tables?.filter(({ enabled }) => enabled).map(({ schema, table }) => `${schema}.${table}`) ?? [];
	const advice = {
		not_installed: "its SQL is missing: cargo xtask database install --url … as the owner of the database",
		missing_privilege: "connect as realtime_worker_reader, and call install again (docs/postgres.md)",
	};
	if (problem) return `  Database: ${problem}${advice[problem] ? `; ${advice[problem]}` : ""}. More is in the log above.\n`;
	return `  Database: connected. Tables: ${tables.join(", ") || "none; select realtime_worker.enable_realtime('public', '…')"}\n`;
}

function sample(postgres, server, secrets) {
	const socket = `${server.replace("http", "ws")}/realtime/v1/websocket?organizationId=${ORGANIZATION}`;
	const token = (user) => mintToken({ user, roles: ["authenticated"] }, secrets.JWT_SECRET);
	const [ada, mel] = USERS.map(token);
	const service = encodeURIComponent(secrets.ACCESS_TOKEN);
	return `
  PostgreSQL: a table \`messages\` whose rows are seen by their owner alone. Open this Inspector, in which ada and mel are
  side by side:

${server}/#ada=${ada}&mel=${mel}&service=${service}

  This row is then shown on ada's side, and not on mel's:

psql '${postgres.url(NAME, { user: "app_owner" })}' -c "insert into messages (owner, body) values ('ada', 'hello')"

  Your own client connects to ${socket}
  with one of these tokens, which are good for ${HOURS} hours, and sends {"type":"subscribe","id":"m","table":"messages"}:

  ada   ${ada}
  mel   ${mel}
`;
}

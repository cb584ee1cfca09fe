/**
 * What `cargo xtask dev` configures so that clients of every dialect can connect, unless wrangler.toml says something else.
 */
import { createHash } from "node:crypto";
import { ORGANIZATION } from "./dev_secrets.mjs";

/** A service key of the development organization's Butterbase app, of this machine alone. */
export function butterbaseKey({ ACCESS_TOKEN }) {
	return `bb_sk_${createHash("sha256").update(`butterbase ${ACCESS_TOKEN}`).digest("hex")}`;
}

/** Variables for the dialects whose clients cannot do with a session token, or that are off until they are configured. */
export function dialectVars(secrets) {
	const hash = createHash("sha256").update(butterbaseKey(secrets)).digest("hex");
	return {
		API_KEYS: JSON.stringify([{ name: "butterbase", hash, organizationId: ORGANIZATION, userId: "butterbase", roles: ["butterbase_service"] }]),
		REALTIME: {
			// Those of the Inspector's examples: what Fluxbase may subscribe to must exist.
			tables: { employees: {}, claims: {} },
			butterbase: { tables: ["*"], listeners: -1 },
			fluxbase: { organization: ORGANIZATION },
		},
	};
}

/** What is published of the tables, and to whom. The stream and the API's answers follow the same rules. */
import { defineTable } from "realtime-worker/server";
import type { tasks } from "./schema.ts";

export const tables = {
	tasks: defineTable<typeof tasks.$inferSelect>({
		organization: "organizationId",
		ownerField: "createdBy",
		// The creator of a task, and admins, see the address; everyone else sees a***@e******.com.
		masking: { contact: { type: "email", show: { roles: ["admin"], or: "owner" } } },
	}),
};

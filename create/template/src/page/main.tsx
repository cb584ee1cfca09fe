import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { authClient } from "./auth.ts";
import { SignIn } from "./sign-in.tsx";
import { Tasks } from "./tasks.tsx";

function Page() {
	const { data, isPending } = authClient.useSession();
	if (isPending) return <p>…</p>;
	const organizationId = data?.session.activeOrganizationId;
	if (!data || !organizationId) return <SignIn />;
	return <Tasks key={data.user.id} organizationId={organizationId} name={data.user.name} />;
}

createRoot(document.getElementById("root")!).render(
	<StrictMode>
		<Page />
	</StrictMode>,
);

"""Users of the local Hub, their organisations and their tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.hub_server.repository import HubError, Repository

WRITING_ROLES = ("write", "admin")


@dataclass
class User:
    """A person; `orgs` maps an organisation to the person's role in it."""

    name: str
    orgs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Access:
    """Who is asking, and what the token allows. Nobody in particular when `user` is None."""

    user: User | None = None
    role: str = "read"

    @property
    def name(self) -> str | None:
        return self.user.name if self.user else None

    def is_member(self, namespace: str) -> bool:
        """Whether the namespace is the user's own or one of an organisation of theirs."""
        return self.user is not None and (
            namespace == self.user.name or namespace in self.user.orgs
        )

    def writes(self, namespace: str) -> bool:
        """Whether the user may change repositories of a namespace (with the right token)."""
        if self.user is None:
            return False
        return namespace == self.user.name or self.user.orgs.get(namespace) in WRITING_ROLES

    def require_login(self) -> None:
        if self.user is None:
            raise HubError(401, "Invalid username or password.")

    def require_write_token(self) -> None:
        """HubError 401 or 403 unless there is a token with the role to write."""
        self.require_login()
        if self.role not in WRITING_ROLES:
            raise HubError(403, "Forbidden: you must use a write token to upload to a repository.")

    def require_write(self, repository: Repository, create_pr: bool = False) -> None:
        """HubError 403 unless the user may push here, or may at least open a pull request."""
        self.require_write_token()
        if create_pr or self.writes(repository.owner):
            return
        hint = "pass `create_pr=1` as a query parameter to create a Pull Request"
        raise HubError(403, f"Forbidden: {hint}")

    def require_sight(self, repository: Repository | None, repo_id: str) -> Repository:
        """The repository if it exists for this user; a private one of others does not."""
        if repository is not None and (not repository.private or self.is_member(repository.owner)):
            return repository
        if self.user is None:  # the Hub does not tell strangers what exists
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        raise HubError(404, "Repository not found", "RepoNotFound")

    def require_content(self, repository: Repository) -> None:
        """HubError 401 or 403 in front of a gate that the user has not been let through."""
        if not repository.gated or self.is_member(repository.owner):
            return
        if self.user is None:
            text = f"Access to model {repository.repo_id} is restricted. You must have access to it and be authenticated to access it. Please log in."
            raise HubError(401, text, "GatedRepo")
        if self.user.name not in repository.granted:
            text = f"Access to model {repository.repo_id} is restricted and you are not in the authorized list. Visit the model page to ask for access."
            raise HubError(403, text, "GatedRepo")


class Accounts:
    """All users and tokens."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.tokens: dict[str, Access] = {}

    def add_user(
        self, name: str, *, token: str, role: str = "write", orgs: dict[str, str] | None = None
    ) -> User:
        """Register a user (or one more token of a user)."""
        user = self.users.setdefault(name, User(name))
        user.orgs.update(orgs or {})
        self.tokens[token] = Access(user, role)
        return user

    def access(self, authorization: str | None) -> Access:
        """What an Authorization header stands for; HubError 401 for an unknown token."""
        if not authorization:
            return Access()
        token = authorization.removeprefix("Bearer ").strip()
        if token not in self.tokens:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.tokens[token]

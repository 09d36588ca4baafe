"""HTTP as the gateway speaks it: what is hardly a request is refused in the API's own words."""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.problems import MEDIA_TYPE, Problem


# Uvicorn answers such bytes before it calls an application, and has no setting for the text.
class ProblemProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, with problem documents where it would answer in plain text."""

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are no request, such as an address of more than 64 KiB."""
        body = Problem("malformed", msg, todo="Send a shorter, well-formed HTTP request.")
        text = body.document().model_dump_json().encode()
        head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(text)}\r\nconnection: close\r\n"
        self.transport.write(STATUS_LINE[400] + head.encode() + b"\r\n" + text)
        self.transport.close()

"""Publishing models, patches and datasets on the Hub as one commit each."""

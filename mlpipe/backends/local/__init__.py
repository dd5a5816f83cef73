"""Jobs as child processes of this machine, under the container contract of SageMaker without a container."""
